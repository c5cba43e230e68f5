// model/text/vocabulary.hpp: token bytes by id, and ids by token bytes.
// Units   an id is a row of the embedding; ids may have gaps
// Threads any, once filled
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quadrant::model {

class vocabulary {
public:
  static constexpr std::int32_t none = -1;

  /// Makes `id` stand for `bytes`. A `hidden` entry can be read by id, but text never finds it.
  /// False if the id, or the bytes of an entry that is not hidden, are taken already.
  bool add(std::int32_t id, std::string_view bytes, bool hidden);

  /// `none` if there is no such entry.
  [[nodiscard]] std::int32_t find(std::string_view bytes) const noexcept;
  /// Empty for an id without an entry.
  [[nodiscard]] std::string_view bytes(std::int32_t id) const noexcept {
    if (id < 0 || id >= size()) return {};
    const auto& e = entries_[std::size_t(id)];
    return {arena_.data() + e.begin, e.size};
  }
  [[nodiscard]] std::int32_t size() const noexcept { return std::int32_t(entries_.size()); } ///< largest id + 1

private:
  struct entry {
    std::uint32_t begin = 0, size = 0;
    bool taken = false;
  };
  struct slot { ///< of an open-addressed table, at most half full
    std::uint32_t hash = 0;
    std::int32_t id = none;
  };
  [[nodiscard]] std::size_t slot_of(std::string_view bytes, std::uint64_t hash) const noexcept;
  void grow();

  std::string arena_;
  std::vector<entry> entries_;
  std::vector<slot> slots_ = std::vector<slot>(1024);
  std::size_t num_found_ = 0; ///< entries in slots_
};

} // namespace quadrant::model
