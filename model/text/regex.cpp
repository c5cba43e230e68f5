#include "model/text/regex.hpp"

#include <algorithm>
#include <string>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

/// Rewrites a pattern of Oniguruma as PCRE2 reads it, and refuses what the two read differently.
class translation {
public:
  explicit translation(std::string_view pattern) : pattern_(pattern) {}

  /// Empty where all of the pattern is known; else what is not.
  std::string problem;
  std::string out;

  void run() {
    while (at_ < pattern_.size() && problem.empty()) {
      const auto c = pattern_[at_];
      if (c == '\\' && at_ + 1 < pattern_.size())
        escape();
      else if (in_class_)
        class_member(c);
      else
        plain(c);
    }
  }

private:
  [[nodiscard]] bool follows(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  void copy(std::size_t count) { out += pattern_.substr(at_, count), at_ += count; }

  void plain(char c) {
    if (follows("}+")) problem = "{n,m}+ repeats a repetition"; // to PCRE2 it is one that gives nothing back
    in_class_ = c == '[';
    copy(follows("[^") ? 2 : 1);
    if (in_class_ && follows("]")) copy(1); // first of all it stands for itself
  }

  void class_member(char c) {
    if (c == '[') problem = "a class is within a class";
    if (follows("&&")) problem = "&& intersects classes";
    in_class_ = c != ']';
    copy(1);
  }

  /// PCRE2's \s holds U+180E, which Unicode has not called a space since 6.3. Written out, it means what the authors
  /// measured.
  void escape() {
    constexpr std::string_view spaces =
        R"(\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
    const char letter = pattern_[at_ + 1];
    if (letter == 's') {
      out.append(in_class_ ? "" : "[").append(spaces).append(in_class_ ? "" : "]");
      at_ += 2;
    } else if (letter == 'S' && !in_class_) {
      out.append("[^").append(spaces).append("]");
      at_ += 2;
    } else if (std::string_view("SwWbBhH").find(letter) != std::string_view::npos) {
      problem = std::string("\\") + letter + (in_class_ ? " in a class" : "");
    } else {
      copy(2);
      const bool has_name = letter == 'p' || letter == 'P' || letter == 'x'; // \p{L}, \x{2581}
      if (has_name && follows("{")) copy(std::min(pattern_.find('}', at_), pattern_.size() - 1) - at_ + 1);
    }
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

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
  translation translated(pattern);
  translated.run();
  if (!translated.problem.empty())
    return {errc::unavailable, "regex " + shown(pattern) + ": " + translated.problem + ", which is not known here"};
  // To Oniguruma ^ and $ are the ends of a line.
  return compile_as(translated.out, PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MULTILINE);
}

result<regex> regex::literal(std::string_view text) { return compile_as(text, PCRE2_LITERAL); }

result<regex> regex::compile_as(std::string_view pattern, std::uint32_t options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  regex r;
  r.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options | PCRE2_UTF, &error,
                              &offset, nullptr));
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
