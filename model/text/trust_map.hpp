// model/text/trust_map.hpp: which bytes of a string are trusted, as runs.
// Units   byte offsets of the string it goes with
// Holds   runs alternate and are not empty; size() is the string's size
// Threads one owner
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quadrant::model {

class trust_map {
public:
  struct run {
    std::size_t end;
    bool trusted;
    friend bool operator==(const run&, const run&) = default;
  };

  trust_map() = default;
  trust_map(std::size_t size, bool trusted) { append(size, trusted); }

  void append(std::size_t size, bool trusted) {
    if (size == 0) return;
    if (!runs_.empty() && runs_.back().trusted == trusted)
      runs_.back().end += size;
    else
      runs_.push_back({this->size() + size, trusted});
  }
  void append(const trust_map& other) { append(other, 0, other.size()); }
  /// The bytes [begin, end) of `other`.
  void append(const trust_map& other, std::size_t begin, std::size_t end) {
    for (auto r = other.run_at(begin); begin < end && r != other.runs_.end(); begin = r->end, ++r)
      append(std::min(end, r->end) - begin, r->trusted);
  }

  [[nodiscard]] std::size_t size() const noexcept { return runs_.empty() ? 0 : runs_.back().end; }
  [[nodiscard]] const std::vector<run>& runs() const noexcept { return runs_; }
  /// Is every byte of [begin, end) trusted? True of an empty range.
  [[nodiscard]] bool trusted(std::size_t begin, std::size_t end) const {
    if (begin >= end) return true;
    const auto first = run_at(begin);
    return first != runs_.end() && first->trusted && first->end >= end;
  }
  /// The map of the bytes [begin, end).
  [[nodiscard]] trust_map part(std::size_t begin, std::size_t end) const {
    trust_map out;
    out.append(*this, begin, end);
    return out;
  }
  friend bool operator==(const trust_map&, const trust_map&) = default;

private:
  [[nodiscard]] std::vector<run>::const_iterator run_at(std::size_t offset) const {
    return std::ranges::upper_bound(runs_, offset, {}, &run::end);
  }
  std::vector<run> runs_;
};

/// A string and the map of its bytes: trust.size() == text.size().
struct marked_text {
  std::string text;
  trust_map trust;

  void append(std::string_view more, bool trusted) { text += more, trust.append(more.size(), trusted); }
  void append(const marked_text& more) { text += more.text, trust.append(more.trust); }
  /// The bytes [begin, end) of `more`.
  void append(const marked_text& more, std::size_t begin, std::size_t end) {
    text.append(more.text, begin, end - begin), trust.append(more.trust, begin, end);
  }
  [[nodiscard]] marked_text part(std::size_t begin, std::size_t end) const {
    return {text.substr(begin, end - begin), trust.part(begin, end)};
  }
};

} // namespace quadrant::model
