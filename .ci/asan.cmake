# cmake -S . -B build/asan -C .ci/asan.cmake: addresses, leaks, undefined behaviour.
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1" CACHE STRING "") # lines are what its reports name
set(DW_SANITIZE "address,undefined" CACHE STRING "")
set(DW_TEST_POINTS ON CACHE BOOL "")
set(DW_WERROR ON CACHE BOOL "")
