#include "model/text/regex.hpp"

#include <algorithm>
#include <string>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

/// PCRE2's \s holds U+180E, which Unicode has not called a space since 6.3. Written out, it means what the authors
/// measured.
std::string with_plain_spaces(std::string_view pattern) {
  constexpr std::string_view spaces =
      R"(\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's')
        out.append(in_class ? "" : "[").append(spaces).append(in_class ? "" : "]");
      else if (escaped == 'S' && !in_class)
        out.append("[^").append(spaces).append("]");
      else
        out.append({c, escaped});
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

/// The pattern on one line.
std::string shown(std::string_view pattern) {
  constexpr std::size_t longest = 200;
  std::string text(pattern.substr(0, longest));
  std::ranges::replace_if(
      text, [](char c) { return c >= '\0' && c < ' '; }, '?');
  return text + (pattern.size() > longest ? "..." : "");
}

} // namespace

void regex::free_code::operator()(pcre2_real_code_8* code) const noexcept { pcre2_code_free(code); }
void regex::scan::free_match_data::operator()(pcre2_real_match_data_8* data) const noexcept {
  pcre2_match_data_free(data);
}

result<regex> regex::compile(std::string_view pattern) {
  if (pattern.find("&&[") != std::string_view::npos)
    return {errc::unavailable, "regex " + shown(pattern) + ": intersections (&&) are not known"};
  const auto text = with_plain_spaces(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  regex r;
  r.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (r.code_ == nullptr) {
    PCRE2_UCHAR reason[128] = {};
    pcre2_get_error_message(error, reason, sizeof reason);
    return {errc::unavailable, "regex " + shown(pattern) + ": " + reinterpret_cast<const char*>(reason)};
  }
  pcre2_jit_compile(r.code_.get(), PCRE2_JIT_COMPLETE); // without a JIT the interpreter serves, ten times slower
  return r;
}

regex::scan::scan(const regex& r) : code_(r.code_.get()), data_(pcre2_match_data_create_from_pattern(code_, nullptr)) {}

bool regex::scan::next(std::string_view text, std::size_t from, match& found) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (from < text.size()) {
    int count = pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK, data_.get(), nullptr);
    // The JIT's stack is small; the interpreter's is the heap.
    if (count == PCRE2_ERROR_JIT_STACKLIMIT)
      count = pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data_.get(), nullptr);
    if (count < 0) return false;
    const auto* bounds = pcre2_get_ovector_pointer(data_.get());
    found = {bounds[0], bounds[1]};
    if (found.end > found.begin) return true;
    from = found.end < text.size() ? found.end + utf8::at(text, found.end).size : text.size();
  }
  return false;
}

} // namespace quadrant::model
