# cmake -S . -B build/asan -C .ci/asan.cmake: addresses, leaks, undefined behaviour.
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(DW_SANITIZE "address,undefined" CACHE STRING "")
set(DW_TEST_POINTS ON CACHE BOOL "")
set(DW_WERROR ON CACHE BOOL "")
