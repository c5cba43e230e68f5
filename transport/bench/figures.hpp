// transport/bench/figures.hpp: time, and what many times come to.
#pragma once
#include <algorithm>
#include <vector>

#include "config/clock.hpp"

namespace quadrant::transport::bench {

inline double now_us() { return double(steady_clock::monotonic_ns()) * 1e-3; }

/// The value that a part p of the list lies below; 0 of none.
inline double part(std::vector<double> list, double p) {
  if (list.empty()) return 0;
  std::ranges::sort(list);
  return list[std::min(list.size() - 1, std::size_t(double(list.size()) * p))];
}
inline double median(const std::vector<double>& list) { return part(list, 0.5); }

} // namespace quadrant::transport::bench
