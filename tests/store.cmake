add_library(fault_store STATIC support/fault_store.c)
target_include_directories(fault_store PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/support
                           PRIVATE ${CMAKE_SOURCE_DIR}/workers/store)
target_link_libraries(fault_store PUBLIC dw_store)
dw_test(store contract dw_store fault_store PkgConfig::libsodium)
dw_test(store_sqlite unit dw_store PkgConfig::sqlite3)
