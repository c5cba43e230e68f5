// gpu/cpu/limits.hpp: loops that reach what one core can do with an instruction set, to measure kernels against.
// Threads any; each call works on the calling thread alone
#pragma once
#include <cstddef>
#include <cstdint>

namespace quadrant::gpu {

struct limit_fns {
  /// `rounds` rounds of integer products from registers, as the int8 kernels use them. Returns how many operations that
  /// were: a multiplication and an addition each.
  double (*dot)(std::int64_t rounds);
  /// Reads `bytes` bytes, a multiple of 256.
  void (*read)(const std::byte* from, std::size_t bytes);
};

} // namespace quadrant::gpu
