# cmake -S . -B build/coverage -C .ci/coverage.cmake: which lines run; tests/run.sh --coverage prints it.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(CMAKE_C_FLAGS "--coverage" CACHE STRING "")
set(DW_TEST_POINTS ON CACHE BOOL "")
