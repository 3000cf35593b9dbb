add_library(fault_store STATIC support/fault_store.c)
target_include_directories(fault_store PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/support
                           PRIVATE ${CMAKE_SOURCE_DIR}/workers/store)
target_link_libraries(fault_store PUBLIC dw_store)
# One contract, run on every driver, so a server of MongoDB's protocol is started for it.
add_executable(test_store contract/test_store.c)
target_link_libraries(test_store PRIVATE dw_store fault_store PkgConfig::libsodium
                                         PkgConfig::libmongoc_1_0 PkgConfig::cmocka)
set_target_properties(test_store PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_test(NAME contract/store COMMAND ${CMAKE_CURRENT_LIST_DIR}/support/mongodb.sh run
                                     $<TARGET_FILE:test_store>)
set_tests_properties(contract/store PROPERTIES LABELS contract TIMEOUT 300)
dw_test(store_sqlite unit dw_store PkgConfig::sqlite3)
