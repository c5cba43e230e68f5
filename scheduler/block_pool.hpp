// scheduler/block_pool.hpp: hands out KV blocks by number; owns no memory.
// Units   one block = block_tokens consecutive positions of one sequence
// Holds   free + used == total after every call
// Threads one owner
// Source  PagedAttention, arXiv:2309.06180
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "config/result.hpp"

namespace quadrant::scheduler {

using block_id = std::int32_t;
inline constexpr std::int32_t block_tokens = 64;

/// Rounded up; no count of tokens is too large for it.
constexpr std::int32_t blocks_for(std::int64_t tokens) noexcept {
  return std::int32_t((tokens + block_tokens - 1) / block_tokens);
}

struct block_books {
  std::int64_t total = 0, free = 0, used = 0, cached = 0;
  std::int64_t leases = 0; ///< references beyond the first of each used block
};

class block_pool {
public:
  explicit block_pool(std::int32_t num_blocks);

  /// Takes `n` blocks, all or none, each with one reference.
  /// Errors  errc::out_of_blocks: wait for a release, then ask again
  result<std::vector<block_id>> allocate(std::int32_t n);
  /// One more reference to each, none of them free: a block that is in use outlives its owner.
  void retain(std::span<const block_id> blocks);
  /// One reference less; a block without any is free.
  void release(std::span<const block_id> blocks);

  [[nodiscard]] std::int32_t total() const noexcept { return std::int32_t(references_.size()); }
  [[nodiscard]] block_books books() const noexcept;

private:
  std::vector<block_id> free_;
  std::vector<std::int32_t> references_; ///< by block
  std::int64_t sum_ = 0;                 ///< of references_
};

} // namespace quadrant::scheduler
