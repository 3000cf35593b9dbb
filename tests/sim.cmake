# The queue and the broker on a disk in memory that loses power; see tests/support/disk.h.
add_library(dw_disk STATIC support/disk.c support/disk_vfs.c support/ending.c)
target_link_libraries(dw_disk PUBLIC dw_broker dw_sqlite)
target_include_directories(dw_disk PUBLIC ${CMAKE_SOURCE_DIR}/broker)
target_link_options(dw_disk PUBLIC -Wl,--wrap=_exit,--wrap=dw_log)

# What the sanitizers see in a part of all crash points, and of all seeds below, is enough for them; all
# of them run in the release build, as the label says.
set(CRASH_POINTS 2000)
set(CRASH_STRIDE 1)
set(SIM_SEEDS 10000)
if(DW_SANITIZE)
  set(CRASH_POINTS 800)
  set(CRASH_STRIDE 3)
  set(SIM_SEEDS 500)
endif()
dw_test(queue_crash crash dw_disk)
target_compile_definitions(test_queue_crash PRIVATE CRASH_POINTS=${CRASH_POINTS}
                                                    CRASH_STRIDE=${CRASH_STRIDE})
set_property(TEST crash/queue_crash APPEND PROPERTY LABELS release)

dw_test(store_crash crash dw_store dw_disk)
target_link_options(test_store_crash PRIVATE -Wl,--wrap=dw_checkpointer_start,--wrap=dw_checkpointer_stop)

add_executable(sim sim/main.c sim/sim.c sim/node.c sim/faults.c sim/peers.c sim/intakes.c sim/workers.c
                   sim/adopters.c sim/cases.c sim/check.c)
target_link_libraries(sim PRIVATE dw_disk dw_putting dw_registering dw_store)
target_link_options(sim PRIVATE -Wl,--wrap=dw_checkpointer_start,--wrap=dw_checkpointer_stop)
set_target_properties(sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
set_tests_properties(crash/queue_crash PROPERTIES TIMEOUT 600)

# The same seed does the same; many seeds find nothing; each deliberate bug is found.
set(SIM_BUG_SEEDS 1000)
add_test(NAME sim/same COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/sim/run --again 16)
add_test(NAME sim/seeds COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/sim/run --seeds 1-${SIM_SEEDS})
set(sim_tests sim/same sim/seeds)
if(DW_TEST_POINTS)
  foreach(bug IN ITEMS ack-before-commit parts-unchecked later-is-never same-fence refused-as-accepted
                       lost-worker-keeps-items key-without-order next-of-key-forgotten bulk-not-slowed leases-uncounted
                       no-expiry unbounded-waiting refused-is-forgotten
                       new-id-on-retry receipt-before-answer done-before-store no-uniqueness uncertain-is-done silence-is-yes
                       adopted-is-forgotten adopt-deletes-first)
    add_test(NAME sim/finds-${bug}
             COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/sim/run --find ${bug} ${SIM_BUG_SEEDS})
    list(APPEND sim_tests sim/finds-${bug})
  endforeach()
endif()
set_tests_properties(${sim_tests} PROPERTIES LABELS sim TIMEOUT 600
                     ENVIRONMENT "DENGWEN_SIM=${CMAKE_BINARY_DIR}/tests/sim")
set_property(TEST sim/seeds APPEND PROPERTY LABELS release)
