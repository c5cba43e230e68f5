#include "model/text/bpe.hpp"

#include <algorithm>

namespace quadrant::model {
namespace {

using candidate = bpe::workspace::candidate;

/// Heap order: the lowest rank on top, then the leftmost.
bool comes_after(const candidate& a, const candidate& b) noexcept {
  return a.rank != b.rank ? a.rank > b.rank : a.place > b.place;
}

std::size_t hash_of(std::int32_t left, std::int32_t right) noexcept {
  const auto pair = std::uint64_t(std::uint32_t(left)) << 32 | std::uint32_t(right);
  const auto product = pair * 0x9E3779B97F4A7C15u; // its low half knows only `right`
  return std::size_t(product ^ product >> 32);
}

} // namespace

std::size_t bpe::slot_of(std::int32_t left, std::int32_t right) const noexcept {
  const auto mask = merges_.size() - 1;
  for (auto i = hash_of(left, right) & mask;; i = (i + 1) & mask)
    if (const auto& m = merges_[i]; m.left == vocabulary::none || (m.left == left && m.right == right)) return i;
}

void bpe::add_merge(std::int32_t left, std::int32_t right, std::int32_t merged) {
  const auto rank = num_merges_++;
  if (2 * std::size_t(num_merges_) > merges_.size()) {
    std::vector<merge> old(2 * merges_.size());
    old.swap(merges_);
    for (const auto& m : old)
      if (m.left != vocabulary::none) merges_[slot_of(m.left, m.right)] = m;
  }
  auto& place = merges_[slot_of(left, right)];
  if (place.left == vocabulary::none) place = {left, right, rank, merged};
}

void bpe::seal(const vocabulary& words, bool whole_words, std::int32_t unknown) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto letter = static_cast<char>(byte);
    byte_ids_[std::size_t(byte)] = words.find({&letter, 1});
  }
  unknown_ = unknown;
  whole_.assign(std::size_t(words.size()), whole_words);
  if (whole_words) return;
  workspace work;
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < words.size(); ++id) {
    ids.clear();
    merge_all(words.bytes(id), work, ids);
    whole_[std::size_t(id)] = ids.size() == 1 && ids.front() == id;
  }
}

void bpe::encode(const vocabulary& words, std::string_view piece, workspace& work,
                 std::vector<std::int32_t>& ids) const {
  if (const auto id = words.find(piece); id != vocabulary::none && whole_[std::size_t(id)])
    ids.push_back(id);
  else
    merge_all(piece, work, ids);
}

/// If the symbol at `place` may merge with its right neighbour, the heap learns of it.
void bpe::consider(std::int32_t place, workspace& work) const {
  const auto& left = work.symbols[std::size_t(place)];
  if (left.next < 0) return;
  const auto right = work.symbols[std::size_t(left.next)].id;
  const auto& m = merges_[slot_of(left.id, right)];
  if (m.left == vocabulary::none) return;
  work.heap.push_back({m.rank, place, m.left, m.right, m.merged});
  std::ranges::push_heap(work.heap, comes_after);
}

void bpe::merge_all(std::string_view piece, workspace& work, std::vector<std::int32_t>& ids) const {
  auto& symbols = work.symbols;
  auto& heap = work.heap;
  symbols.clear(), heap.clear();
  for (const char letter : piece) {
    auto id = byte_ids_[static_cast<unsigned char>(letter)];
    if (id == vocabulary::none) id = unknown_;
    if (id == vocabulary::none) continue;
    const auto place = std::int32_t(symbols.size());
    symbols.push_back({id, place - 1, place + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) consider(std::int32_t(i), work);

  while (!heap.empty()) {
    std::ranges::pop_heap(heap, comes_after);
    const auto top = heap.back();
    heap.pop_back();
    auto& left = symbols[std::size_t(top.place)];
    // One of the two has merged with another since.
    if (left.id != top.left || left.next < 0 || symbols[std::size_t(left.next)].id != top.right) continue;
    symbols[std::size_t(left.next)].id = vocabulary::none;
    left.id = top.merged;
    left.next = symbols[std::size_t(left.next)].next;
    if (left.next >= 0) symbols[std::size_t(left.next)].previous = top.place;
    if (left.previous >= 0) consider(left.previous, work);
    consider(top.place, work);
  }
  for (std::int32_t place = 0; place >= 0; place = symbols[std::size_t(place)].next)
    ids.push_back(symbols[std::size_t(place)].id);
}

} // namespace quadrant::model
