#include "model/grammar/byte_trie.hpp"

#include <algorithm>

#include "config/check.hpp"

namespace quadrant::model {

byte_trie::byte_trie(std::vector<entry> entries) {
  std::ranges::sort(entries, [](const entry& a, const entry& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.id < b.id; // char_traits compares bytes as unsigned
  });
  ids_.reserve(entries.size());
  std::vector<std::uint32_t> path; // the nodes of the string before
  const auto leave = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back()) nodes_[path.back()].end = std::uint32_t(nodes_.size());
  };
  std::string_view before;
  for (const auto& [bytes, id] : entries) {
    QCHECK(!bytes.empty() && bytes.size() <= max_bytes);
    const auto same = std::size_t(std::ranges::mismatch(before, bytes).in1 - before.begin());
    leave(same);
    for (auto depth = same; depth < bytes.size(); ++depth) {
      path.push_back(std::uint32_t(nodes_.size()));
      nodes_.push_back({.end = 0,
                        .first_id = std::uint32_t(ids_.size()),
                        .depth = std::uint16_t(depth),
                        .byte = std::uint8_t(bytes[depth])});
    }
    ids_.push_back(id);
    deepest_ = std::max(deepest_, bytes.size());
    before = bytes;
  }
  leave(0);
  nodes_.push_back({.end = 0, .first_id = std::uint32_t(ids_.size()), .depth = 0, .byte = 0});
  nodes_.shrink_to_fit();
}

byte_trie::child byte_trie::find(range of, std::uint8_t byte) const noexcept {
  for (auto i = of.first; i < of.last; i = nodes_[i].end)
    if (nodes_[i].byte == byte) return {{i, nodes_[i].end}, {i + 1, nodes_[i].end}, ids_at(i)};
  return {{of.last, of.last}, {of.last, of.last}, {}};
}

int byte_trie::most_of(std::string_view set) const {
  int most = 0;
  std::vector<int> counts(deepest_ + 1);
  for (std::size_t i = 0; i + 1 < nodes_.size(); ++i) {
    const auto& n = nodes_[i];
    counts[n.depth + 1] = counts[n.depth] + int(set.find(char(n.byte)) != std::string_view::npos);
    most = std::max(most, counts[n.depth + 1]);
  }
  return most;
}

std::size_t byte_trie::memory_bytes() const noexcept {
  return nodes_.capacity() * sizeof(node) + ids_.capacity() * sizeof(std::int32_t);
}

} // namespace quadrant::model
