#include "model/text/bpe.hpp"

#include <algorithm>

#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

using candidate = bpe::workspace::candidate;

/// Heap order: the lowest rank on top, then the leftmost.
bool comes_after(const candidate& a, const candidate& b) noexcept {
  return a.rank != b.rank ? a.rank > b.rank : a.place > b.place;
}

constexpr std::string_view word_mark = "\u2581"; // begins a word, in vocabularies of characters

/// Where the next word begins, after `from`: at a mark that no other precedes.
std::size_t next_word(std::string_view piece, std::size_t from) noexcept {
  for (auto at = piece.find(word_mark, from + 1); at != std::string_view::npos;
       at = piece.find(word_mark, at + word_mark.size()))
    if (!piece.substr(0, at).ends_with(word_mark)) return at;
  return piece.size();
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
  place = {left, right, rank, merged};
}

bool bpe::merges_reach_into_next_word(const vocabulary& words) const {
  return std::ranges::any_of(merges_, [&](const merge& m) {
    return m.left != vocabulary::none && words.bytes(m.right).starts_with(word_mark) &&
           !words.bytes(m.left).ends_with(word_mark);
  });
}

void bpe::seal(const vocabulary& words, const rules& how) {
  rules_ = how;
  for (int byte = 0; byte < 256; ++byte) {
    const auto letter = static_cast<char>(byte);
    single_ids_[std::size_t(byte)] = words.find({&letter, 1});
  }
  words_are_parts_ = how.by_character && !how.whole_words && words.find(word_mark) != vocabulary::none &&
                     !merges_reach_into_next_word(words);
  whole_.assign(std::size_t(words.size()), how.whole_words);
  if (how.whole_words) return;
  workspace work;
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < words.size(); ++id) {
    ids.clear();
    read_symbols(words, words.bytes(id), true, work);
    merge_all(work, ids);
    whole_[std::size_t(id)] = ids.size() == 1 && ids.front() == id;
  }
}

void bpe::encode(const vocabulary& words, std::string_view piece, bool with_unknown, workspace& work,
                 std::vector<std::int32_t>& ids) const {
  if (!words_are_parts_) return encode_part(words, piece, with_unknown, work, ids);
  for (std::size_t begin = 0; begin < piece.size();) {
    const auto end = next_word(piece, begin);
    encode_part(words, piece.substr(begin, end - begin), with_unknown, work, ids);
    begin = end;
  }
}

void bpe::encode_part(const vocabulary& words, std::string_view part, bool with_unknown, workspace& work,
                      std::vector<std::int32_t>& ids) const {
  if (const auto id = words.find(part); id != vocabulary::none && whole_[std::size_t(id)]) {
    ids.push_back(id);
    return;
  }
  read_symbols(words, part, with_unknown, work);
  merge_all(work, ids);
}

bool bpe::add_byte_tokens(std::string_view character, workspace& work) const {
  const auto token_of = [this](char byte) { return rules_.byte_tokens[static_cast<unsigned char>(byte)]; };
  if (std::ranges::find(character, vocabulary::none, token_of) != character.end()) return false;
  for (const auto byte : character) work.add(token_of(byte));
  return true;
}

void bpe::read_symbols(const vocabulary& words, std::string_view part, bool with_unknown, workspace& work) const {
  work.symbols.clear();
  bool after_unknown = false;
  for (std::size_t i = 0, size = 1; i < part.size(); i += size) {
    const auto byte = static_cast<unsigned char>(part[i]);
    size = rules_.by_character && byte >= 0x80 ? utf8::at(part, i).size : 1;
    const auto character = part.substr(i, size);
    const auto id = size == 1 ? single_ids_[byte] : words.find(character);
    const bool known = id != vocabulary::none || add_byte_tokens(character, work);
    if (id != vocabulary::none)
      work.add(id);
    else if (!known && with_unknown && rules_.unknown != vocabulary::none && !(after_unknown && rules_.fuse_unknown))
      work.add(rules_.unknown);
    after_unknown = !known;
  }
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

void bpe::merge_all(workspace& work, std::vector<std::int32_t>& ids) const {
  auto& symbols = work.symbols;
  auto& heap = work.heap;
  heap.clear();
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
