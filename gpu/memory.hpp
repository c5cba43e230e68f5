// gpu/memory.hpp: memory of a CPU device: aligned, zeroed, and on huge pages where the system grants them.
//
//   2 MiB and more               a mapping of its own
//   a weight of 64 KiB to 16 MiB a piece of a 64 MiB mapping that many share: an expert's are smaller than a huge page
//   anything else                from the heap
//
// Huge pages are asked for by madvise, so they cost memory only in steps of 2 MiB, and only where it is touched. Experts'
// weights on them were read at 0.94 of the DRAM rate, on 4 KiB pages at 0.78 (gpu/cpu/README.md).
// Threads any
#pragma once
#include <cstddef>
#include <memory>

namespace quadrant::gpu {

/// 64-byte aligned bytes that free themselves. Zeroed; throws std::bad_alloc, as any container does.
class aligned_bytes {
public:
  aligned_bytes() = default;
  explicit aligned_bytes(std::size_t size);
  /// For what stays about as long as its neighbours do: the memory of a shared mapping goes back with its last piece.
  static aligned_bytes of_weight(std::size_t size);

  [[nodiscard]] std::byte* data() const noexcept { return data_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  template <class T>
  [[nodiscard]] T* as() const noexcept {
    return reinterpret_cast<T*>(data_.get());
  }

private:
  std::shared_ptr<std::byte> data_; ///< frees the heap block, the mapping, or its share of one
  std::size_t size_ = 0;
};

} // namespace quadrant::gpu
