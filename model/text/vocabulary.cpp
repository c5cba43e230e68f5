#include "model/text/vocabulary.hpp"

#include "config/hash.hpp"

namespace quadrant::model {

std::size_t vocabulary::slot_of(std::string_view bytes_wanted, std::uint64_t hash) const noexcept {
  const auto mask = slots_.size() - 1;
  for (auto i = std::size_t(hash) & mask;; i = (i + 1) & mask) {
    const auto& s = slots_[i];
    if (s.id == none || (s.hash == std::uint32_t(hash >> 32) && bytes(s.id) == bytes_wanted)) return i;
  }
}

bool vocabulary::add(std::int32_t id, std::string_view bytes, bool hidden) {
  const auto hash = xxh3(bytes);
  if (id < size() && entries_[std::size_t(id)].taken) return false;
  if (!hidden && slots_[slot_of(bytes, hash)].id != none) return false;

  if (id >= size()) entries_.resize(std::size_t(id) + 1);
  entries_[std::size_t(id)] = {std::uint32_t(arena_.size()), std::uint32_t(bytes.size()), true};
  arena_ += bytes;
  if (hidden) return true;
  if (2 * (num_found_ + 1) > slots_.size()) grow();
  slots_[slot_of(bytes, hash)] = {std::uint32_t(hash >> 32), id};
  ++num_found_;
  return true;
}

void vocabulary::grow() {
  std::vector<slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const auto& s : old) {
    if (s.id == none) continue;
    const auto word = bytes(s.id);
    slots_[slot_of(word, xxh3(word))] = s;
  }
}

std::int32_t vocabulary::find(std::string_view bytes) const noexcept { return slots_[slot_of(bytes, xxh3(bytes))].id; }

} // namespace quadrant::model
