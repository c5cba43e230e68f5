// scheduler/block_pool.hpp: hands out KV blocks by number; owns no memory.
//
//   free ──allocate──▶ used ──last release──▶ free
//                       ▲ │ kept: what is in it may be wanted again
//                retain │ ▼
//                      cached ──allocate finds none free: the one unused for longest──▶ used by others, `evicted` is told
//
// Units   one block = block_tokens consecutive positions of one sequence
// Holds   free + cached + used == total after every call
// Threads one owner
// Source  PagedAttention, arXiv:2309.06180
#pragma once
#include <cstdint>
#include <functional>
#include <list>
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

  block_books& operator+=(const block_books& other) noexcept;
};

class block_pool {
public:
  explicit block_pool(std::int32_t num_blocks, std::function<void(block_id)> evicted = {});

  /// Takes `n` blocks, all or none, each with one reference.
  /// Errors  errc::out_of_blocks: wait for a release, then ask again
  result<std::vector<block_id>> allocate(std::int32_t n);
  /// One more reference to each, none of them free: a block that is in use outlives its owner, a cached one is used again.
  void retain(std::span<const block_id> blocks);
  /// One reference less; a block without any is free, or cached. Of those given together the last is evicted first.
  void release(std::span<const block_id> blocks);
  /// A block in use is cached, not freed, when its last reference goes.
  void keep(block_id block);

  [[nodiscard]] std::int32_t total() const noexcept { return std::int32_t(blocks_.size()); }
  /// Blocks that allocate could give.
  [[nodiscard]] std::int32_t available() const noexcept { return std::int32_t(free_.size() + cached_.size()); }
  [[nodiscard]] block_books books() const noexcept;

private:
  struct block {
    std::int32_t references = 0;
    bool kept = false;
    std::list<block_id>::iterator place{}; ///< in cached_, while it is there
  };
  std::vector<block_id> free_;
  std::list<block_id> cached_; ///< unused for longest first
  std::vector<block> blocks_;
  std::int64_t sum_ = 0; ///< of references
  std::function<void(block_id)> evicted_;
};

} // namespace quadrant::scheduler
