# find_package(quadrant): the libraries of an installed Quadrant. An embedding program links quadrant::actors.
list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
include("${CMAKE_CURRENT_LIST_DIR}/QuadrantDependencies.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/quadrantTargets.cmake")
