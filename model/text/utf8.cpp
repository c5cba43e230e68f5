#include "model/text/utf8.hpp"

#include <cstring>

#include <utf8proc.h>

namespace quadrant::model::utf8 {
namespace {

/// A lead byte: how many bytes follow, and between which bounds the first of them lies (RFC 3629).
struct lead {
  std::uint8_t following = 0, low = 0x80, high = 0xBF;
};

lead lead_of(unsigned char byte) noexcept {
  if (byte >= 0xC2 && byte <= 0xDF) return {1};
  if (byte == 0xE0) return {2, 0xA0};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2};
  if (byte == 0xF0) return {3, 0x90};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  if (byte >= 0xF1 && byte <= 0xF3) return {3};
  return {};
}

} // namespace

character at(std::string_view text, std::size_t at) noexcept {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1, true, false};
  const auto expected = lead_of(first);
  if (expected.following == 0) return {.size = 1};
  char32_t code = first & (0x3Fu >> expected.following);
  for (std::uint8_t i = 1; i <= expected.following; ++i) {
    if (at + i >= text.size()) return {.size = i, .cut = true};
    const auto byte = static_cast<unsigned char>(text[at + i]);
    if (byte < (i == 1 ? expected.low : 0x80) || byte > (i == 1 ? expected.high : 0xBF)) return {.size = i};
    code = code << 6 | (byte & 0x3Fu);
  }
  return {code, std::uint8_t(expected.following + 1), true, false};
}

std::size_t ascii_prefix(std::string_view text) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

void append(char32_t code, std::string& to) {
  const auto tail = [&](int shift) { to += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80)
    to += static_cast<char>(code);
  else if (code < 0x800)
    to += static_cast<char>(0xC0 | code >> 6), tail(0);
  else if (code < 0x10000)
    to += static_cast<char>(0xE0 | code >> 12), tail(6), tail(0);
  else
    to += static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0);
}

void append_valid(std::string_view text, std::string& to) {
  std::size_t copied = 0;
  for (std::size_t i = ascii_prefix(text); i < text.size();) {
    const auto c = at(text, i);
    if (!c.valid) {
      to += text.substr(copied, i - copied);
      append(replacement, to);
      copied = i + c.size;
    }
    i += c.size;
    i += ascii_prefix(text.substr(i));
  }
  to += text.substr(copied);
}

std::size_t settled_prefix(std::string_view text) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte >= 0xC0) return at(text, text.size() - back).cut ? text.size() - back : text.size();
  }
  return text.size();
}

bool is_space(char32_t c) noexcept {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word(char32_t code) noexcept {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  const bool is_joiner = code == 0x200C || code == 0x200D;
  const bool is_letter_in_frame = (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
                                  (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ND) || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_PC || is_joiner || is_letter_in_frame;
}

bool is_printable(char32_t code) noexcept {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return code == ' ' || (category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS);
}

char32_t to_upper(char32_t code) noexcept { return char32_t(utf8proc_toupper(utf8proc_int32_t(code))); }
char32_t to_lower(char32_t code) noexcept { return char32_t(utf8proc_tolower(utf8proc_int32_t(code))); }

} // namespace quadrant::model::utf8
