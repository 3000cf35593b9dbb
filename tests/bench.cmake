# Measurements, not tests: nothing here fails for being slow.  `ninja bench` runs them all and prints
# each figure as a ratio to a limit of the same run.
add_executable(bench_crypto_limit bench/crypto_limit.c)
target_link_libraries(bench_crypto_limit PRIVATE dw_envelope PkgConfig::libsodium)
add_executable(bench_verify_limit bench/verify_limit.c)
target_link_libraries(bench_verify_limit PRIVATE dw_case PkgConfig::libsodium)
add_executable(bench_load bench/load.c)
add_executable(bench_store bench/store.c)
target_link_libraries(bench_store PRIVATE dw_store PkgConfig::libsodium)
add_executable(bench_queue bench/queue.c bench/curve.c bench/rate.c)
target_link_libraries(bench_queue PRIVATE dw_wire PkgConfig::libzmq PkgConfig::libsodium)
add_executable(bench_bare bench/queue_bare.c bench/rate.c)
target_link_libraries(bench_bare PRIVATE PkgConfig::libzmq PkgConfig::sqlite3)
set(bench_programs bench_crypto_limit bench_verify_limit bench_load bench_store bench_queue bench_bare)

# A peer's library is wanted by its generator alone (group bench of conf/packages).
pkg_check_modules(librabbitmq IMPORTED_TARGET QUIET librabbitmq)
if(librabbitmq_FOUND)
  add_executable(bench_rabbitmq bench/queue_rabbitmq.c bench/rate.c)
  target_link_libraries(bench_rabbitmq PRIVATE PkgConfig::librabbitmq Threads::Threads)
  list(APPEND bench_programs bench_rabbitmq)
endif()
set_target_properties(${bench_programs}
                      PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

add_custom_target(bench
  COMMAND ${CMAKE_COMMAND} -E env DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin
          DENGWEN_BENCH=${CMAKE_BINARY_DIR}/tests
          /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/bench/run.py
          --json ${CMAKE_BINARY_DIR}/bench.json
  COMMAND ${CMAKE_COMMAND} -E env DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin
          DENGWEN_BENCH=${CMAKE_BINARY_DIR}/tests
          /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/bench/store.py
          --json ${CMAKE_BINARY_DIR}/bench-store.json
  COMMAND ${CMAKE_COMMAND} -E env DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin
          DENGWEN_BENCH=${CMAKE_BINARY_DIR}/tests
          /usr/bin/python3 ${CMAKE_CURRENT_LIST_DIR}/bench/queue.py
          --json ${CMAKE_BINARY_DIR}/bench-queue.json
  DEPENDS ${bench_programs} dengwen dengwen-run dengwen-init dengwen-keyd dengwen-broker
          dengwen-casework dengwen-notify dengwen-desk dengwen-web dengwen-ops dengwen-queue dengwen-key
  USES_TERMINAL)
