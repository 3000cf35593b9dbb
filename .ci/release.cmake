# cmake -S . -B build/release -C .ci/release.cmake: what is shipped.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(DW_WERROR ON CACHE BOOL "")
