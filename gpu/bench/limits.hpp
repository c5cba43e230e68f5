// gpu/bench/limits.hpp: what a team of threads reaches where no kernel is in the way, sampled beside each kernel.
// Threads one owner
#pragma once
#include <cstddef>
#include <cstdint>

#include "gpu/backend.hpp"
#include "gpu/packed_weight.hpp"

namespace quadrant::gpu::bench {

class limits {
public:
  explicit limits(isa i) : fns_(limits_of(i)) {}

  // One sample each, of some 10 ms, by the threads of a team.

  /// int8 multiplications and additions from registers, 10^9 a second.
  double int8_gops(team& t);
  /// Sequential reads of memory far larger than the caches, 10^9 bytes a second.
  double dram_gb_s(team& t);
  /// The same at random places, `block` bytes each: how the weights of chosen experts are read.
  double random_gb_s(team& t, std::size_t block);
  /// Reads of the same `bytes` bytes again and again: from whatever cache holds them.
  double reread_gb_s(team& t, std::size_t bytes);

private:
  const std::byte* memory(team& t);

  const limit_fns& fns_;
  aligned_bytes memory_;
  std::uint64_t random_ = 1;
  std::size_t next_ = 0;
};

} // namespace quadrant::gpu::bench
