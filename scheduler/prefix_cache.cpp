#include "scheduler/prefix_cache.hpp"

#include <algorithm>

#include "config/hash.hpp"

namespace quadrant::scheduler {

std::size_t prefix_cache::key_hash::operator()(const key& k) const noexcept {
  return std::size_t(xxh3(std::as_bytes(std::span(&k, 1))));
}

prefix_cache::key prefix_cache::key_of(node parent, std::span<const std::int32_t> tokens, std::size_t block) {
  key k{.parent = parent, .tokens = {}};
  std::ranges::copy(tokens.subspan(block * block_tokens, block_tokens), k.tokens.begin());
  return k;
}

std::vector<block_id> prefix_cache::find(std::span<const std::int32_t> tokens, std::int32_t most) const {
  std::vector<block_id> blocks;
  node at = 0;
  const auto full = std::min(std::size_t(most), tokens.size() / block_tokens);
  while (enabled_ && blocks.size() < full) {
    const auto found = entries_.find(key_of(at, tokens, blocks.size()));
    if (found == entries_.end()) break;
    at = found->second.self;
    blocks.push_back(found->second.block);
  }
  return blocks;
}

void prefix_cache::publish(std::span<const std::int32_t> tokens, std::span<const block_id> blocks) {
  node at = 0;
  for (std::size_t i = 0; enabled_ && i < blocks.size(); ++i) {
    const auto k = key_of(at, tokens, i);
    const auto [found, fresh] = entries_.try_emplace(k, entry{next_, blocks[i]});
    if (fresh) {
      ++next_;
      forget(blocks[i]); // it was known behind a block that has been evicted
      node_of_[std::size_t(blocks[i])] = k;
      pool_.keep(blocks[i]);
    }
    at = found->second.self;
  }
}

void prefix_cache::forget(block_id b) {
  auto& known = node_of_[std::size_t(b)];
  if (known) entries_.erase(*known);
  known.reset();
}

} // namespace quadrant::scheduler
