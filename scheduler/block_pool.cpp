#include "scheduler/block_pool.hpp"

#include <ranges>
#include <string>
#include <utility>

namespace quadrant::scheduler {

block_books& block_books::operator+=(const block_books& other) noexcept {
  total += other.total, free += other.free, used += other.used, cached += other.cached, leases += other.leases;
  return *this;
}

block_pool::block_pool(std::int32_t num_blocks, std::function<void(block_id)> evicted) : evicted_(std::move(evicted)) {
  QCHECK_LE(0, num_blocks);
  blocks_.resize(std::size_t(num_blocks));
  for (block_id b = num_blocks; b-- > 0;) free_.push_back(b);
}

result<std::vector<block_id>> block_pool::allocate(std::int32_t n) {
  QCHECK_LE(0, n);
  if (n > available())
    return {errc::out_of_blocks, std::to_string(n) + " KV blocks wanted, " + std::to_string(available()) + " free"};
  while (n > std::int32_t(free_.size())) {
    const auto b = cached_.front();
    cached_.pop_front();
    blocks_[std::size_t(b)].kept = false;
    if (evicted_) evicted_(b);
    free_.push_back(b);
  }
  std::vector<block_id> taken(free_.end() - n, free_.end());
  free_.resize(free_.size() - std::size_t(n));
  for (const auto b : taken) blocks_[std::size_t(b)].references = 1;
  sum_ += n;
  return taken;
}

void block_pool::retain(std::span<const block_id> blocks) {
  for (const auto b : blocks) {
    auto& it = blocks_.at(std::size_t(b));
    if (it.references == 0) {
      QCHECK(it.kept); // a free block has no owner to outlive
      cached_.erase(it.place);
    }
    ++it.references;
  }
  sum_ += std::int64_t(blocks.size());
}

void block_pool::release(std::span<const block_id> blocks) {
  for (const auto b : blocks | std::views::reverse) {
    auto& it = blocks_.at(std::size_t(b));
    QCHECK_LT(0, it.references);
    if (--it.references > 0) continue;
    if (it.kept)
      it.place = cached_.insert(cached_.end(), b);
    else
      free_.push_back(b);
  }
  sum_ -= std::int64_t(blocks.size());
}

void block_pool::keep(block_id b) {
  auto& it = blocks_.at(std::size_t(b));
  QCHECK_LT(0, it.references);
  it.kept = true;
}

block_books block_pool::books() const noexcept {
  const auto used = std::int64_t(blocks_.size() - free_.size() - cached_.size());
  return {.total = std::int64_t(blocks_.size()),
          .free = std::int64_t(free_.size()),
          .used = used,
          .cached = std::int64_t(cached_.size()),
          .leases = sum_ - used};
}

} // namespace quadrant::scheduler
