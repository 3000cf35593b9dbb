# cmake -S . -B build/fuzz -C .ci/fuzz.cmake: fuzzers; tests/fuzz/run.sh builds and runs them.
set(CMAKE_C_COMPILER clang CACHE STRING "")
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(DW_SANITIZE "fuzzer-no-link,address,undefined" CACHE STRING "")
set(DW_FUZZ ON CACHE BOOL "")
