// gpu/bench/kernel_bench.hpp: what each kernel reaches, as a ratio to a limit that is sampled between its runs.
//
//   round = one sample of the limit, then runs of the kernel for some 30 ms;  nine rounds; medians of both
//
// The machine drifts (other guests, clock rates): a limit of another minute would be another machine's.
// Threads one owner: the team's
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gpu/bench/limits.hpp"

namespace quadrant::gpu::bench {

using shape_numbers = std::vector<std::pair<std::string, double>>;

struct measurement {
  std::string name;
  shape_numbers shape;
  int threads = 0;
  double median_us = 0;
  double value = 0; ///< in `unit`
  std::string unit, limit_name;
  double limit = 0, ratio = 0; ///< ratio = value / limit
};

/// One kernel at one shape, with its operands in it.
struct kernel_case {
  std::string name;
  shape_numbers shape;
  double work = 0;  ///< of one run, 10^9 `unit` times seconds: operations or bytes; 0: the value is the time itself
  std::string unit; ///< "GOPS", "GB/s", "us"
  std::string limit_name;
  std::function<double()> limit; ///< one sample, in `unit`
  std::function<void()> run;
};

/// The cases that somebody asked for, measured one after the other.
class kernel_bench {
public:
  struct options {
    std::string only; ///< the cases whose name holds this; empty: all
    std::function<void(const measurement&)> measured = [](const auto&) {};
  };
  kernel_bench(team& t, isa i, options o);

  void run_all();

  // For the files of cases.
  [[nodiscard]] bool wants(const std::string& name) const { return name.find(options_.only) != std::string::npos; }
  void measure(const kernel_case& c);
  team& threads;
  const ops_table& ops;
  bench::limits limits;

private:
  options options_;
};

void linear_cases(kernel_bench& b);
void attention_cases(kernel_bench& b);
void row_cases(kernel_bench& b);

} // namespace quadrant::gpu::bench
