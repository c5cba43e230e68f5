// model/text/utf8.hpp: bytes as characters, and what to do where they are none.
// Units   byte offsets; a code point is a Unicode scalar value
// Errors  none: bytes that form no character count as U+FFFD, one for each maximal part of a character (as WHATWG
//         decodes)
// Threads any
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quadrant::model::utf8 {

constexpr char32_t replacement = 0xFFFD;

struct character {
  char32_t code = replacement;
  std::uint8_t size = 0; ///< bytes it takes, at least 1
  bool valid = false;
  bool cut = false; ///< not valid only because the text ends here
};

/// The character at text[at]; at < text.size().
character at(std::string_view text, std::size_t at) noexcept;

/// Bytes of the ASCII run at the start of `text`.
std::size_t ascii_prefix(std::string_view text) noexcept;

void append(char32_t code, std::string& to);
/// `text` with a U+FFFD for all that is no character.
void append_valid(std::string_view text, std::string& to);
/// Bytes of `text` that later bytes cannot change: all but an unfinished character at its end.
std::size_t settled_prefix(std::string_view text) noexcept;

/// Unicode White_Space.
bool is_space(char32_t code) noexcept;
/// A letter, mark, decimal digit, connector or joiner: what a regex calls \w.
bool is_word(char32_t code) noexcept;
/// What Python writes as it is in the repr of a string: the space and all that leaves a mark.
bool is_printable(char32_t code) noexcept;
/// The one character that is its other case, or itself.
char32_t to_upper(char32_t code) noexcept;
char32_t to_lower(char32_t code) noexcept;

} // namespace quadrant::model::utf8
