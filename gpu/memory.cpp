#include "gpu/memory.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include <sys/mman.h>

namespace quadrant::gpu {
namespace {

constexpr std::size_t huge_page = std::size_t(2) << 20, shared_mapping = std::size_t(64) << 20,
                      smallest_piece = std::size_t(64) << 10;

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

/// Fresh zero pages that begin at a huge page's border.
std::shared_ptr<std::byte> map_huge(std::size_t size) {
  const auto whole = round_up(size, huge_page) + huge_page;
  void* place = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) throw std::bad_alloc();
  auto* first = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(place), huge_page));
  madvise(first, whole - huge_page, MADV_HUGEPAGE); // refused: then small pages
  return {first, [place, whole](std::byte*) { munmap(place, whole); }};
}

std::shared_ptr<std::byte> from_heap(std::size_t size) {
  auto* place = static_cast<std::byte*>(std::aligned_alloc(64, round_up(size, 64)));
  if (place == nullptr) throw std::bad_alloc();
  std::memset(place, 0, size);
  return {place, [](std::byte* p) { std::free(p); }};
}

/// The mapping that pieces are taken from, one after the other; they keep it alive.
class piece_source {
public:
  std::shared_ptr<std::byte> take(std::size_t size) {
    const std::lock_guard hold(mutex_);
    if (mapping_ == nullptr || used_ + size > shared_mapping) {
      mapping_ = map_huge(shared_mapping);
      used_ = 0;
    }
    std::shared_ptr<std::byte> piece(mapping_, mapping_.get() + used_);
    used_ += round_up(size, 64);
    if (used_ + smallest_piece > shared_mapping) mapping_.reset(); // full: it goes with its pieces
    return piece;
  }

private:
  std::mutex mutex_;
  std::shared_ptr<std::byte> mapping_;
  std::size_t used_ = 0;
};

} // namespace

aligned_bytes::aligned_bytes(std::size_t size) : size_(size) {
  if (size > 0) data_ = size >= huge_page ? map_huge(size) : from_heap(size);
}

aligned_bytes aligned_bytes::of_weight(std::size_t size) {
  static piece_source pieces;
  if (size < smallest_piece || size > shared_mapping / 4) return aligned_bytes(size);
  aligned_bytes bytes;
  bytes.size_ = size;
  bytes.data_ = pieces.take(size);
  return bytes;
}

} // namespace quadrant::gpu
