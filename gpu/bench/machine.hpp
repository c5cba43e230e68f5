// gpu/bench/machine.hpp: what a machine can do, as figures that the benchmarks' limits are made of.
#pragma once
#include <string>
#include <vector>

#include "gpu/bench/limits.hpp"

namespace quadrant::gpu::bench {

struct figure {
  std::string name;
  double value;
  std::string unit;
};

struct machine {
  std::string processor;   ///< as the system names it
  std::string isa_because; ///< why this instruction set is used
  std::string huge_pages;  ///< what the system grants: "always", "madvise" or "never"
  std::vector<figure> figures;
};

machine measure_machine(team& t, isa i);

} // namespace quadrant::gpu::bench
