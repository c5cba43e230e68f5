# find_package(quadrant): the libraries of an installed Quadrant. An embedding program links quadrant::actors. quadrant::rdma is
# there where Quadrant was built with libibverbs, and needs it.
list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")
include("${CMAKE_CURRENT_LIST_DIR}/QuadrantDependencies.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/quadrantTargets.cmake")
