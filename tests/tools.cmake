# The front command, the supervisor, ops, check-config and the systemd units.
dw_test(supervisor unit dw_front)
dw_test(ops_state unit dw_front PkgConfig::jansson)

add_executable(part support/part.c)
set_target_properties(part PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

foreach(name IN ITEMS supervisor ops front)
  add_test(NAME flow/${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/flow/${name}.py)
  set_tests_properties(flow/${name} PROPERTIES LABELS flow TIMEOUT 180 ENVIRONMENT
    "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin;DENGWEN_SOURCE=${CMAKE_SOURCE_DIR};PART=$<TARGET_FILE:part>")
endforeach()
add_test(NAME flow/systemd COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/flow/systemd.sh
         ${CMAKE_BINARY_DIR}/conf/systemd ${DW_LIBEXEC} $<TARGET_FILE:dengwen>)
set_tests_properties(flow/systemd PROPERTIES LABELS flow TIMEOUT 60 SKIP_RETURN_CODE 77)

# What each program contains, read from its symbols; what the files for containers say of them.
foreach(name IN ITEMS boundaries containers)
  add_test(NAME unit/${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/unit/${name}.py)
  set_tests_properties(unit/${name} PROPERTIES LABELS unit TIMEOUT 300
                       ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
endforeach()
