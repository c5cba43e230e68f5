#include "gpu/cpu/simd/scratch.hpp"

#include "gpu/packed_weight.hpp"

namespace quadrant::gpu::simd {

std::byte* scratch_bytes(slot use, std::size_t bytes) {
  thread_local aligned_bytes buffers[std::size_t(slot::count)];
  auto& buffer = buffers[std::size_t(use)];
  if (buffer.size() < bytes) buffer = aligned_bytes((bytes + bytes / 2 + 4095) / 4096 * 4096);
  return buffer.data();
}

} // namespace quadrant::gpu::simd
