#include "scheduler/block_pool.hpp"

#include <string>

namespace quadrant::scheduler {

block_pool::block_pool(std::int32_t num_blocks) {
  QCHECK_LE(0, num_blocks);
  references_.assign(std::size_t(num_blocks), 0);
  for (block_id b = num_blocks; b-- > 0;) free_.push_back(b);
}

result<std::vector<block_id>> block_pool::allocate(std::int32_t n) {
  QCHECK_LE(0, n);
  if (n > std::int32_t(free_.size()))
    return {errc::out_of_blocks, std::to_string(n) + " KV blocks wanted, " + std::to_string(free_.size()) + " free"};
  std::vector<block_id> blocks(free_.end() - n, free_.end());
  free_.resize(free_.size() - std::size_t(n));
  for (const auto b : blocks) references_[std::size_t(b)] = 1;
  sum_ += n;
  return blocks;
}

void block_pool::retain(std::span<const block_id> blocks) {
  for (const auto b : blocks) {
    QCHECK_LT(0, references_.at(std::size_t(b))); // a free block has no owner to outlive
    ++references_[std::size_t(b)];
  }
  sum_ += std::int64_t(blocks.size());
}

void block_pool::release(std::span<const block_id> blocks) {
  for (const auto b : blocks) {
    QCHECK_LT(0, references_.at(std::size_t(b)));
    if (--references_[std::size_t(b)] == 0) free_.push_back(b);
  }
  sum_ -= std::int64_t(blocks.size());
}

block_books block_pool::books() const noexcept {
  const auto used = std::int64_t(references_.size() - free_.size());
  return {.total = std::int64_t(references_.size()),
          .free = std::int64_t(free_.size()),
          .used = used,
          .cached = 0,
          .leases = sum_ - used};
}

} // namespace quadrant::scheduler
