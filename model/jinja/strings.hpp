// model/jinja/strings.hpp: strings cut and put together by character, every byte still knowing who wrote it.
// Units   characters, unless a name says bytes
// Errors  errc::invalid_argument, without the line: a result longer than max_bytes
// Threads any
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "model/text/trust_map.hpp"

namespace quadrant::model::jinja {

constexpr std::size_t max_bytes = 16u << 20; ///< of any text that a template makes

failure too_long();

/// Python's slice: `count` places from `begin` on, `step` apart.
struct slice_range {
  std::int64_t begin = 0, step = 1, count = 0;

  /// Of a sequence of `length` items. step is not 0.
  static slice_range of(std::int64_t length, std::optional<std::int64_t> begin, std::optional<std::int64_t> end,
                        std::int64_t step);
};

std::vector<marked_text> characters(const marked_text& text);
std::size_t count_characters(std::string_view text);
marked_text slice_text(const marked_text& text, const slice_range& range);

/// Less the characters of `set` (null: white space) at either end.
marked_text strip(const marked_text& text, const marked_text* set, bool left, bool right);
/// At each `separator` (null: runs of white space), `max_cuts` times at most; below 0: no limit.
result<std::vector<marked_text>> split(const marked_text& text, const marked_text* separator, std::int64_t max_cuts);
/// `count` below 0: all.
result<marked_text> replace(const marked_text& text, std::string_view from, const marked_text& to, std::int64_t count);
result<marked_text> repeat(const marked_text& text, std::int64_t times);
result<marked_text> join(const std::vector<marked_text>& parts, const marked_text& gap);
/// `width` spaces before every line but the first (with `first`: it too); empty lines stay empty unless `blank`.
result<marked_text> indent(const marked_text& text, std::int64_t width, bool first, bool blank);
/// & < > ' " as HTML writes them.
result<marked_text> escape_html(const marked_text& text);

enum class letter_case : std::uint8_t {
  upper,
  lower,
  capitalised, ///< the first character upper, the others lower
  title,       ///< so each word
};
marked_text in_case(const marked_text& text, letter_case wanted);

} // namespace quadrant::model::jinja
