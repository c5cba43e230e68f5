// scheduler/prefix_cache.hpp: a pool of KV blocks that knows which tokens its full blocks are the KV of, so that a prompt
// that begins like an earlier one begins with its blocks.
//
//   tokens   0 … 63 │ 64 … 127 │ …       node = (node before, 64 tokens), one block each
//   nodes    root ─▶ a ─▶ b ─▶ …         a cached block is found as long as those before it are there
//
// Tokens are compared, not hashes of them: nobody can make a prompt that is taken for another one. Of a chain the last
// block is evicted first.
// Units   blocks of block_tokens tokens
// Threads one owner
// Source  the radix tree of SGLang, arXiv:2312.07104, cut at blocks
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "scheduler/block_pool.hpp"

namespace quadrant::scheduler {

/// The blocks that a prompt may share: at least one token of it is computed, or there were no logits to sample from.
constexpr std::int32_t shareable_blocks(std::int64_t prompt_tokens) noexcept {
  return std::int32_t((prompt_tokens - 1) / block_tokens);
}

class prefix_cache {
public:
  /// enabled: false: nothing is ever found.
  prefix_cache(std::int32_t num_blocks, bool enabled)
      : pool_(num_blocks, [this](block_id b) { forget(b); }), enabled_(enabled), node_of_(std::size_t(num_blocks)) {}
  prefix_cache(const prefix_cache&) = delete;
  prefix_cache& operator=(const prefix_cache&) = delete;

  /// The blocks of the longest known prefix, `most` of them at most. They may be evicted before they are retained.
  [[nodiscard]] std::vector<block_id> find(std::span<const std::int32_t> tokens, std::int32_t most) const;
  /// blocks[i], in use, holds the KV of the i-th 64 of `tokens`: the first blocks.size() * 64 are known from now on. Where
  /// another block holds the same, that one stays the known one.
  void publish(std::span<const std::int32_t> tokens, std::span<const block_id> blocks);

  [[nodiscard]] block_pool& pool() noexcept { return pool_; }
  [[nodiscard]] const block_pool& pool() const noexcept { return pool_; }

private:
  using node = std::uint64_t; ///< numbered, never again the same; 0: the root
  struct key {
    node parent;
    std::array<std::int32_t, block_tokens> tokens;
    bool operator==(const key&) const = default;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept;
  };
  struct entry {
    node self;
    block_id block;
  };
  static key key_of(node parent, std::span<const std::int32_t> tokens, std::size_t block);
  void forget(block_id b);

  block_pool pool_;
  bool enabled_;
  std::unordered_map<key, entry, key_hash> entries_;
  std::vector<std::optional<key>> node_of_; ///< by block
  node next_ = 1;
};

} // namespace quadrant::scheduler
