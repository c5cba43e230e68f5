#include "gpu/bench/kernel_bench.hpp"

#include <algorithm>

#include "config/clock.hpp"

namespace quadrant::gpu::bench {
namespace {

constexpr int rounds = 9;
constexpr std::int64_t round_ns = 30'000'000, most_ns = 10'000'000'000;

double median(std::vector<double>& list) {
  std::ranges::nth_element(list, list.begin() + std::ptrdiff_t(list.size() / 2));
  return list[list.size() / 2];
}

} // namespace

kernel_bench::kernel_bench(team& t, isa i, options o)
    : threads(t), ops(**ops_for(i)), limits(i), options_(std::move(o)) {}

void kernel_bench::measure(const kernel_case& c) {
  std::vector<double> us, limit;
  c.run(); // pages and caches
  const auto start = steady_clock::monotonic_ns();
  for (int round = 0; round < rounds; ++round) {
    limit.push_back(c.limit());
    for (auto now = steady_clock::monotonic_ns(), end = now + round_ns; now < end;) {
      c.run();
      const auto after = steady_clock::monotonic_ns();
      us.push_back(double(after - now) * 1e-3);
      now = after;
    }
    if (steady_clock::monotonic_ns() - start > most_ns) break; // a slow back-end
  }
  measurement m{.name = c.name,
                .shape = c.shape,
                .threads = threads.num_threads(),
                .median_us = median(us),
                .value = 0,
                .unit = c.unit,
                .limit_name = c.limit_name,
                .limit = median(limit),
                .ratio = 0};
  m.value = c.work == 0 ? m.median_us : c.work / m.median_us * 1e-3;
  m.ratio = m.value / m.limit;
  options_.measured(m);
}

void kernel_bench::run_all() {
  linear_cases(*this);
  attention_cases(*this);
  row_cases(*this);
}

} // namespace quadrant::gpu::bench
