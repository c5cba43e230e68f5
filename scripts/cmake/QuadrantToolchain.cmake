# How every source of the project is compiled: the interface target quadrant_options.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}") # the program is build/<preset>/quadrant
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(QUADRANT_CCACHE ccache)
if(QUADRANT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${QUADRANT_CCACHE}")
endif()

# What a user of the libraries needs too, and what only this build does.
add_library(quadrant_headers INTERFACE)
target_compile_features(quadrant_headers INTERFACE cxx_std_20)
target_include_directories(quadrant_headers INTERFACE "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>"
  "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/quadrant>")

add_library(quadrant_options INTERFACE)
target_link_libraries(quadrant_options INTERFACE quadrant_headers)
target_compile_options(quadrant_options INTERFACE
  # Numerics rule 1: only an explicit fma fuses, and no flag may change the value of an expression. errno is no value.
  -ffp-contract=off -fno-math-errno
  -Wall -Wextra -Wshadow
  # __FILE__ and source_location name files from the repository root, wherever that is.
  "-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # False alarms of GCC 12 inside libstdc++'s strings and vectors (its bugs 105329, 105562, 107138): shown nowhere.
  target_compile_options(quadrant_options INTERFACE -Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow
    -Wno-array-bounds)
endif()
if(QUADRANT_WERROR)
  target_compile_options(quadrant_options INTERFACE -Werror)
endif()

if(QUADRANT_SANITIZE)
  target_compile_options(quadrant_options INTERFACE "-fsanitize=${QUADRANT_SANITIZE}" -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(quadrant_options INTERFACE "-fsanitize=${QUADRANT_SANITIZE}")
  if(QUADRANT_SANITIZE STREQUAL "thread") # it does not know the fences that Asio sets beside its mutex, and GCC refuses them
    target_compile_definitions(quadrant_options INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
else()
  # A faster linker where there is one; never beside a sanitizer's own link line.
  find_program(QUADRANT_MOLD mold)
  find_program(QUADRANT_LLD ld.lld)
  if(QUADRANT_MOLD)
    target_link_options(quadrant_options INTERFACE -fuse-ld=mold)
  elseif(QUADRANT_LLD)
    target_link_options(quadrant_options INTERFACE -fuse-ld=lld)
  endif()
endif()
