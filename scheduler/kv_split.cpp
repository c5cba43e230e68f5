#include "scheduler/kv_split.hpp"

#include <algorithm>

namespace quadrant::scheduler {

std::size_t kv_split::holder_of(std::int32_t segment) const noexcept {
  return std::size_t(std::ranges::upper_bound(ends, segment) - ends.begin());
}

std::int32_t kv_split::blocks_on(std::size_t worker, std::int32_t blocks) const noexcept {
  const auto border = [&](std::int32_t segment) {
    return std::int32_t(std::min<std::int64_t>(std::int64_t(segment) * segment_blocks, blocks));
  };
  return border(end_segment(worker)) - border(first_segment(worker));
}

kv_split plan_kv_split(std::int32_t blocks, std::span<const std::int64_t> used) {
  std::vector<std::int64_t> load(used.begin(), used.end());
  std::vector<std::int32_t> segments(used.size(), 0);
  for (std::int32_t first = 0; first < blocks; first += segment_blocks) {
    const auto least = std::ranges::min_element(load) - load.begin();
    load[std::size_t(least)] += std::min(segment_blocks, blocks - first);
    ++segments[std::size_t(least)];
  }
  kv_split split;
  for (std::size_t worker = 0, end = 0; worker + 1 < used.size(); ++worker)
    split.ends.push_back(std::int32_t(end += std::size_t(segments[worker])));
  return split;
}

} // namespace quadrant::scheduler
