# Real processes, real peers; each file makes an installation of its own below /tmp.
foreach(name IN ITEMS main_job retries bad_days clocks bad_filings bad_files bad_requests bad_commands
                      notices staff keyd strangers openapi states several counters moving audit keys
                      peers nginx broker_kills hostile queue_watch crash_campaign canaries)
  add_test(NAME flow/${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/flow/${name}.py)
  set_tests_properties(flow/${name} PROPERTIES LABELS flow TIMEOUT 600
                       ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
endforeach()
# Campaigns keep a processor busy; hostile peers keep all of them.
set_tests_properties(flow/crash_campaign flow/canaries flow/broker_kills PROPERTIES TIMEOUT 900 PROCESSORS 2)
set_tests_properties(flow/hostile PROPERTIES TIMEOUT 900 RUN_SERIAL ON)
# The same, longer.
add_test(NAME flow/broker_kills-long COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/flow/broker_kills.py)
set_tests_properties(flow/broker_kills-long PROPERTIES LABELS long TIMEOUT 1800 RUN_SERIAL ON
                     ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin;DW_KILLS=1000")
# Servers of their own, which they stop and kill; a missing one is a failure.
foreach(name IN ITEMS mongodb mongodb_tls crash_mongodb canaries_mongodb)
  add_test(NAME flow/${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/flow/${name}.py)
  set_tests_properties(flow/${name} PROPERTIES LABELS flow TIMEOUT 600
                       ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
endforeach()
set_tests_properties(flow/crash_mongodb flow/canaries_mongodb PROPERTIES TIMEOUT 900 PROCESSORS 2)
# Two tests of one file, side by side.
foreach(name IN ITEMS one_is_away one_never_comes_back)
  add_test(NAME flow/brokers-${name} COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/flow/brokers.py
                                             TwoBrokers.test_${name})
  set_tests_properties(flow/brokers-${name} PROPERTIES LABELS flow TIMEOUT 600
                       ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
endforeach()
# The same promises with the cases in MongoDB.
foreach(name IN ITEMS main_job retries clocks several bad_days notices)
  add_test(NAME flow/${name}-mongodb COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/support/mongodb.sh run /usr/bin/python3
                                             ${CMAKE_CURRENT_SOURCE_DIR}/flow/${name}.py)
  set_tests_properties(flow/${name}-mongodb PROPERTIES LABELS flow TIMEOUT 600
                       ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
endforeach()
# Several servers that are one; label mongod, as only a real one can be that (tests/run.sh).
add_test(NAME flow/mongodb_cluster COMMAND /usr/bin/python3 ${CMAKE_CURRENT_SOURCE_DIR}/flow/mongodb_cluster.py)
set_tests_properties(flow/mongodb_cluster PROPERTIES LABELS "flow;mongod" TIMEOUT 900 COST 150
                     ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
# The longest begin first, so that none of them is left alone at the end.
set_tests_properties(flow/crash_campaign flow/crash_mongodb flow/canaries flow/canaries_mongodb
                     flow/broker_kills PROPERTIES COST 200)
set_tests_properties(flow/moving flow/counters flow/bad_days flow/bad_days-mongodb flow/peers flow/mongodb
                     PROPERTIES COST 100)
