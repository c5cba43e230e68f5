// scheduler/kv_split.hpp: which of the decode workers that share heads holds which part of a sequence's KV.
//
//   segments   0 1 2 3 4 | 5 6 7 | 8 9        worker w holds [ends[w-1], ends[w]), the last one all the rest
//   worker         0         1      2         ends = {5, 8}
//
// A step reads each worker's part at the same time, so it is over when the largest has been read: each segment goes to the
// worker with the fewest blocks in use. So a short sequence is whole on one worker, and a long one fills up what the others
// have less. The parts follow each other in the order of the workers, because segments fold left (rule 8) and the folded
// state goes from each worker to the next. A sequence's KV does not move.
// Units   segments of segment_blocks blocks
// Threads none: pure functions
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace quadrant::scheduler {

inline constexpr std::int32_t segment_blocks = 16; ///< a split ends only at a segment's border

struct kv_split {
  std::vector<std::int32_t> ends; ///< segments; one fewer than workers

  [[nodiscard]] std::int32_t first_segment(std::size_t worker) const noexcept {
    return worker == 0 ? 0 : ends[worker - 1];
  }
  /// INT32_MAX for the last worker.
  [[nodiscard]] std::int32_t end_segment(std::size_t worker) const noexcept {
    return worker < ends.size() ? ends[worker] : INT32_MAX;
  }
  [[nodiscard]] std::size_t holder_of(std::int32_t segment) const noexcept;
  /// How many of a sequence's `blocks` a worker holds.
  [[nodiscard]] std::int32_t blocks_on(std::size_t worker, std::int32_t blocks) const noexcept;
};

/// Splits a sequence of that many blocks. `used`: blocks in use, of each worker.
kv_split plan_kv_split(std::int32_t blocks, std::span<const std::int64_t> used);

} // namespace quadrant::scheduler
