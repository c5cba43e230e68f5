# Tests are built by the target `tests`, never by the default one, and run by ctest.
#
# quadrant_test(NAME source... [LIBS library...] [LABELS label...] [TIMEOUT seconds] [ENVIRONMENT VAR=value...] [SERIAL])
#   One doctest executable. QUADRANT_SOURCE_DIR is defined, for golden files; QUADRANT_PROGRAM too, and the program is built first,
#   where a label says `integration`. SERIAL: nothing else runs beside it.
#     quadrant_test(block_pool_test block_pool_test.cpp block_pool_property_test.cpp LIBS quadrant_scheduler)
#
# quadrant_python_test(NAME script.py [ARGS argument...] [LABELS label...] [TIMEOUT seconds] [SERIAL])
# quadrant_guest_test(NAME program)
#   The executable of a quadrant_test once more, in the guest of scripts/rdma-vm, which has an RDMA device. Release only; skipped,
#   with the reason printed, where the guest cannot be made.
#
# Labels   unit (the default)  one folder, no process, seconds                        release and dev
#          law                 the first law: digests compared with ==                release
#          integration         the whole program or several processes                 release
#          golden              against stored or outside references                   release
#          concurrency         beside another label: worth a run under TSan           tsan too
#          long                run with QUADRANT_LONG=1, as NAME.long                 release, scripts/test --all
#   A source named *_property_test.cpp gives `long` by itself.

set(QUADRANT_TIMEOUT_unit 120)
set(QUADRANT_TIMEOUT_law 300)
set(QUADRANT_TIMEOUT_integration 300)
set(QUADRANT_TIMEOUT_golden 600)
set(QUADRANT_TIMEOUT_long 3600)

set(QUADRANT_TESTS OFF)
if(doctest_FOUND AND rapidcheck_FOUND)
  set(QUADRANT_TESTS ON)
  add_custom_target(tests)
  add_library(quadrant_test_main STATIC EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/test/support/doctest_main.cpp")
  target_link_libraries(quadrant_test_main PUBLIC quadrant_options doctest::doctest rapidcheck)
  target_compile_definitions(quadrant_test_main PUBLIC "QUADRANT_SOURCE_DIR=\"${CMAKE_SOURCE_DIR}\"")
  if(QUADRANT_SANITIZE)
    target_compile_definitions(quadrant_test_main PRIVATE DOCTEST_CONFIG_NO_POSIX_SIGNALS) # the sanitizer's report is better
  endif()
else()
  message(STATUS "doctest and rapidcheck are not both there: no tests (scripts/install-packages --test)")
endif()

# Of the candidates, the first Python that has numpy: the default one may not.
if(QUADRANT_TESTS AND NOT QUADRANT_PYTHON)
  find_program(QUADRANT_PYTHON_DEFAULT python3)
  foreach(candidate IN ITEMS "${QUADRANT_PYTHON_DEFAULT}" /usr/bin/python3)
    execute_process(COMMAND "${candidate}" -c "import numpy" RESULT_VARIABLE without_numpy OUTPUT_QUIET ERROR_QUIET)
    if(without_numpy EQUAL 0)
      set(QUADRANT_PYTHON "${candidate}" CACHE FILEPATH "A Python 3 that has numpy")
      break()
    endif()
  endforeach()
  if(NOT QUADRANT_PYTHON)
    set(QUADRANT_TESTS OFF)
    message(STATUS "no python3 with numpy: no tests (scripts/install-packages --test)")
  endif()
endif()

# A sanitizer build of everything is too slow: it holds the tests that it is good at.
function(quadrant_test_wanted labels out)
  set(wanted ON)
  if(QUADRANT_SANITIZE STREQUAL "thread" AND NOT "concurrency" IN_LIST labels)
    set(wanted OFF)
  elseif(QUADRANT_SANITIZE AND NOT QUADRANT_SANITIZE STREQUAL "thread" AND NOT "unit" IN_LIST labels)
    set(wanted OFF)
  endif()
  if(QUADRANT_ALL_TESTS)
    set(wanted ON)
  endif()
  set(${out} ${wanted} PARENT_SCOPE)
endfunction()

# Registers one run of one command.
function(quadrant_register_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "COMMAND;LABELS;ENVIRONMENT")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 0)
    foreach(label IN LISTS arg_LABELS)
      if(DEFINED QUADRANT_TIMEOUT_${label} AND QUADRANT_TIMEOUT_${label} GREATER arg_TIMEOUT)
        set(arg_TIMEOUT ${QUADRANT_TIMEOUT_${label}})
      endif()
    endforeach()
  endif()
  if(QUADRANT_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 4")
    list(APPEND arg_ENVIRONMENT
      "ASAN_OPTIONS=detect_stack_use_after_return=1"
      "UBSAN_OPTIONS=print_stacktrace=1"
      "TSAN_OPTIONS=second_deadlock_stack=1 suppressions='${CMAKE_SOURCE_DIR}/test/support/tsan-suppressions.txt'")
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "${arg_ENVIRONMENT}")
  if(arg_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

function(quadrant_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "TIMEOUT" "LIBS;LABELS;ENVIRONMENT")
  set(sources ${arg_UNPARSED_ARGUMENTS})
  set(labels ${arg_LABELS})
  if(sources MATCHES "_property_test\\.cpp")
    list(APPEND labels long)
  endif()
  list(REMOVE_DUPLICATES labels)
  set(kinds ${labels})
  list(REMOVE_ITEM kinds long concurrency)
  if(NOT kinds AND NOT "long" IN_LIST arg_LABELS)
    list(APPEND kinds unit)
    list(APPEND labels unit)
  endif()
  foreach(label IN LISTS labels)
    if(NOT DEFINED QUADRANT_TIMEOUT_${label} AND NOT label STREQUAL "concurrency")
      message(FATAL_ERROR "quadrant_test(${name}): no such label: ${label}")
    endif()
  endforeach()
  quadrant_test_wanted("${labels}" wanted)
  if(NOT QUADRANT_TESTS OR NOT wanted)
    return()
  endif()

  add_executable(${name} EXCLUDE_FROM_ALL ${sources})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(${name} PRIVATE quadrant_test_main ${arg_LIBS})
  add_dependencies(tests ${name})
  if("integration" IN_LIST labels AND TARGET quadrant)
    target_compile_definitions(${name} PRIVATE "QUADRANT_PROGRAM=\"$<TARGET_FILE:quadrant>\"")
    add_dependencies(${name} quadrant)
  endif()

  set(serial "")
  if(arg_SERIAL)
    set(serial SERIAL)
  endif()
  if(kinds)
    set(plain_labels ${labels})
    list(REMOVE_ITEM plain_labels long)
    quadrant_register_test(${name} COMMAND ${name} LABELS ${plain_labels} TIMEOUT ${arg_TIMEOUT}
      ENVIRONMENT ${arg_ENVIRONMENT} ${serial})
  endif()
  if("long" IN_LIST labels AND (NOT QUADRANT_SANITIZE OR QUADRANT_ALL_TESTS))
    quadrant_register_test(${name}.long COMMAND ${name} LABELS long ENVIRONMENT QUADRANT_LONG=1 ${arg_ENVIRONMENT} ${serial})
  endif()
endfunction()

function(quadrant_python_test name script)
  cmake_parse_arguments(PARSE_ARGV 2 arg "SERIAL" "TIMEOUT" "ARGS;LABELS")
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  quadrant_test_wanted("${arg_LABELS}" wanted)
  if(NOT QUADRANT_TESTS OR NOT wanted)
    return()
  endif()
  cmake_path(ABSOLUTE_PATH script)
  set(serial "")
  if(arg_SERIAL)
    set(serial SERIAL)
  endif()
  quadrant_register_test(${name} COMMAND "${QUADRANT_PYTHON}" -B "${script}" ${arg_ARGS} LABELS ${arg_LABELS}
    TIMEOUT ${arg_TIMEOUT} ${serial})
  if("integration" IN_LIST arg_LABELS AND TARGET quadrant)
    add_dependencies(tests quadrant)
  endif()
endfunction()

function(quadrant_guest_test name program)
  if(NOT QUADRANT_TESTS OR QUADRANT_SANITIZE)
    return()
  endif()
  quadrant_register_test(${name} COMMAND "${CMAKE_SOURCE_DIR}/scripts/rdma-vm" --timeout 240 $<TARGET_FILE:${program}>
    LABELS integration)
  set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
endfunction()
