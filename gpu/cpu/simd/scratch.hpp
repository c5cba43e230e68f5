// gpu/cpu/simd/scratch.hpp: memory of one thread that stays between calls, so that a warm op need not allocate.
// Threads every thread has its own; a range of team::parallel may read what the op's caller wrote
#pragma once
#include <cstddef>

namespace quadrant::gpu::simd {

enum class slot {
  runs,
  blocks,
  chunks,
  clusters,
  row,
  padded,
  corrections,
  keys,
  values,
  kv_scales,
  queries,
  states,
  outputs,
  segments,
  candidates,
  logits,
  count
};

/// At least `bytes` bytes, 64-byte aligned. What was there is lost, and so are earlier pointers of this slot.
std::byte* scratch_bytes(slot use, std::size_t bytes);

} // namespace quadrant::gpu::simd
