add_library(fault_store STATIC support/fault_store.c support/careful_store.c)
target_include_directories(fault_store PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/support
                           PRIVATE ${CMAKE_SOURCE_DIR}/workers/store)
target_link_libraries(fault_store PUBLIC dw_store)
# One contract, run on every driver, so a server of MongoDB's protocol is started for it.
foreach(name IN ITEMS store mongodb mongodb_faults fold copy)
  add_executable(test_${name} contract/test_${name}.c)
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/workers/store)
  target_link_libraries(test_${name} PRIVATE dw_store fault_store PkgConfig::libsodium
                                             PkgConfig::sqlite3 PkgConfig::libmongoc_1_0
                                             PkgConfig::cmocka)
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  set(how "")
  if(name STREQUAL mongodb_faults)
    set(how failpoints)
  endif()
  add_test(NAME contract/${name} COMMAND ${CMAKE_CURRENT_LIST_DIR}/support/mongodb.sh run ${how}
                                         $<TARGET_FILE:test_${name}>)
  set_tests_properties(contract/${name} PROPERTIES LABELS contract TIMEOUT 600)
endforeach()
add_test(NAME contract/store-faults COMMAND ${CMAKE_CURRENT_LIST_DIR}/support/mongodb.sh run
                                            $<TARGET_FILE:test_store> faults)
set_tests_properties(contract/store-faults PROPERTIES LABELS "contract;one-thread" TIMEOUT 600)
# One thread copies, and the thread sanitizer would make it the longest test of all.
set_property(TEST contract/copy APPEND PROPERTY LABELS one-thread)
dw_test(store_sqlite unit dw_store PkgConfig::sqlite3)
dw_test(schema unit dw_store PkgConfig::sqlite3)
target_include_directories(test_schema PRIVATE ${CMAKE_SOURCE_DIR}/workers/store)
