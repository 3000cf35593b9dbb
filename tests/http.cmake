foreach(name IN ITEMS http_form http_head http_peer)
  dw_test(${name} unit dw_http PkgConfig::libmicrohttpd)
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/workers/http)
endforeach()

# These speak to a real server on a port of its own.
add_library(http_app STATIC support/http_app.c support/http_client.c)
target_include_directories(http_app PUBLIC support)
target_link_libraries(http_app PUBLIC dw_http PRIVATE PkgConfig::libsodium PkgConfig::cmocka)
foreach(name IN ITEMS http_answers http_requests http_limits http_uploads)
  dw_test(${name} unit http_app PkgConfig::libsodium)
endforeach()
