# quadrant_library(NAME source... [LIBS library...])
#   A static library with the project's flags. LIBS are public: whoever links NAME gets them too.
#     quadrant_library(quadrant_gpu device.cpp event.cpp LIBS quadrant_config Threads::Threads)
function(quadrant_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS")
  add_library(${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC quadrant_headers "$<BUILD_INTERFACE:quadrant_options>" ${arg_LIBS})
  string(REPLACE "quadrant_" "" short_name ${name}) # to its users quadrant_gpu is quadrant::gpu
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${short_name})
  install(TARGETS ${name} EXPORT quadrant ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endfunction()

# quadrant_capnp(TARGET schema.capnp...)
#   Compiles schemas; TARGET and whoever links it may #include "<folder>/<schema>.capnp.h", named from the repository root.
#   Once a target. Paths are relative to the calling folder. A schema imports another as "/actors/messages/data.capnp" or "data.capnp".
#     quadrant_capnp(quadrant_actors messages/data.capnp messages/steps.capnp)
function(quadrant_capnp target)
  set(CAPNPC_SRC_PREFIX "${CMAKE_SOURCE_DIR}")
  set(CAPNPC_OUTPUT_DIR "${CMAKE_BINARY_DIR}/generated")
  foreach(schema IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH schema)
    cmake_path(RELATIVE_PATH schema BASE_DIRECTORY "${CMAKE_SOURCE_DIR}")
    cmake_path(GET schema PARENT_PATH folder)
    file(MAKE_DIRECTORY "${CAPNPC_OUTPUT_DIR}/${folder}") # the compiler does not make it
  endforeach()
  capnp_generate_cpp(sources headers ${ARGN})

  # A library of its own, so that the generated code is compiled without our warnings.
  add_library(${target}_capnp STATIC ${sources})
  target_include_directories(${target}_capnp SYSTEM PUBLIC "$<BUILD_INTERFACE:${CAPNPC_OUTPUT_DIR}>")
  target_link_libraries(${target}_capnp PRIVATE "$<BUILD_INTERFACE:quadrant_options>" PUBLIC CapnProto::capnp)
  install(TARGETS ${target}_capnp EXPORT quadrant ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(FILES ${headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/quadrant/${folder}")
  target_compile_options(${target}_capnp PRIVATE -w)
  target_link_libraries(${target} PUBLIC ${target}_capnp)

  # `generated` makes the headers and compiles nothing: enough for scripts/lint.
  if(NOT TARGET generated)
    add_custom_target(generated)
  endif()
  add_custom_target(${target}_capnp_headers DEPENDS ${headers})
  add_dependencies(${target}_capnp ${target}_capnp_headers)
  add_dependencies(generated ${target}_capnp_headers)
endfunction()
