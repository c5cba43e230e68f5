#include "model/jinja/lexer.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "model/text/utf8.hpp"

namespace quadrant::model::jinja {
namespace {

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool starts_name(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

std::string with_plain_newlines(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else
      out += source[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class scanner {
public:
  explicit scanner(std::string source) : source_(std::move(source)) {}

  result<std::vector<token>> run() {
    while (at_ < source_.size()) {
      const auto tag = find_tag();
      push_text(tag);
      if (tag == std::string::npos) break;
      const char kind = source_[tag + 1];
      move_to(tag + 2);
      if (looking_at("-") || looking_at("+")) move_to(at_ + 1);
      if (kind == '#')
        QUADRANT_TRY_VOID(comment());
      else
        QUADRANT_TRY_VOID(inside(kind == '%'));
    }
    push(token_kind::end, {});
    return std::move(tokens_);
  }

private:
  [[nodiscard]] failure broken(const std::string& what) const {
    return {errc::corrupt, "chat template, line " + std::to_string(line_) + ": " + what};
  }
  [[nodiscard]] bool looking_at(std::string_view word) const {
    return std::string_view(source_).substr(at_).starts_with(word);
  }
  void push(token_kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void move_to(std::size_t to) {
    line_ += int(std::count(source_.begin() + std::ptrdiff_t(at_), source_.begin() + std::ptrdiff_t(to), '\n'));
    at_ = to;
  }
  void skip_space() {
    auto to = at_;
    while (to < source_.size() && is_space(source_[to])) ++to;
    move_to(to);
  }

  [[nodiscard]] std::size_t find_tag() const {
    for (auto i = source_.find('{', at_); i != std::string::npos; i = source_.find('{', i + 1))
      if (i + 1 < source_.size() && std::string_view("{%#").find(source_[i + 1]) != std::string_view::npos) return i;
    return std::string::npos;
  }

  /// The text up to `tag`, less the white space that the tag takes from it.
  void push_text(std::size_t tag) {
    auto text = source_.substr(at_, tag == std::string::npos ? tag : tag - at_);
    const auto begins_line = at_ == 0 || source_[at_ - 1] == '\n';
    const auto raw_size = text.size();
    const char sign = tag != std::string::npos && tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    if (sign == '-' && tag != std::string::npos) {
      while (!text.empty() && is_space(text.back())) text.pop_back();
    } else if (tag != std::string::npos && sign != '+' && source_[tag + 1] != '{') {
      const auto newline = text.rfind('\n');
      const auto line_start = newline == std::string::npos ? 0 : newline + 1;
      if ((newline != std::string::npos || begins_line) &&
          std::all_of(text.begin() + std::ptrdiff_t(line_start), text.end(), is_space))
        text.resize(line_start);
    }
    if (!text.empty()) push(token_kind::text, std::move(text));
    move_to(at_ + raw_size);
  }

  /// After a tag: `-` takes all white space, a block or comment without `+` one newline.
  void after_tag(char sign, bool trims) {
    if (sign == '-')
      skip_space();
    else if (sign != '+' && trims && looking_at("\n"))
      move_to(at_ + 1);
  }

  result<void> comment() {
    const auto end = source_.find("#}", at_);
    if (end == std::string::npos) return broken("a comment {# has no end #}");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    move_to(end + 2);
    after_tag(sign, true);
    return {};
  }

  /// The tokens of one {% %} or {{ }}.
  result<void> inside(bool block) {
    const auto opened = line_;
    push(block ? token_kind::open_block : token_kind::open_output, {});
    std::vector<char> brackets;
    while (true) {
      skip_space();
      if (at_ >= source_.size()) return broken("the tag opened on line " + std::to_string(opened) + " has no end");
      if (brackets.empty() && closes(block)) return {};
      QUADRANT_TRY_VOID(one_token(brackets));
    }
  }

  bool closes(bool block) {
    const std::string_view end = block ? "%}" : "}}";
    const bool signed_end =
        (looking_at("-") || (block && looking_at("+"))) && std::string_view(source_).substr(at_ + 1).starts_with(end);
    if (!signed_end && !looking_at(end)) return false;
    const char sign = signed_end ? source_[at_] : ' ';
    push(block ? token_kind::close_block : token_kind::close_output, {});
    move_to(at_ + end.size() + (signed_end ? 1 : 0));
    after_tag(sign, block);
    return true;
  }

  result<void> one_token(std::vector<char>& brackets) {
    const char c = source_[at_];
    if (c == '\'' || c == '"') return string(c);
    if (is_digit(c)) return number(), result<void>();
    if (starts_name(c)) return word(), result<void>();
    static constexpr std::array<std::string_view, 25> operators = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "*",
                                                                   "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                                                   "]",  "{",  "}",  ".",  ",",  ":",  "|"};
    const auto found = std::ranges::find_if(operators, [this](std::string_view op) { return looking_at(op); });
    if (found == operators.end())
      return broken("unexpected character '" + source_.substr(at_, utf8::at(source_, at_).size) + "'");
    if (std::string_view("([{").find(c) != std::string_view::npos)
      brackets.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (std::string_view(")]}").find(c) != std::string_view::npos) {
      if (brackets.empty() || brackets.back() != c) return broken(std::string("unexpected '") + c + "'");
      brackets.pop_back();
    }
    push(token_kind::op, std::string(*found));
    move_to(at_ + found->size());
    return {};
  }

  void word() {
    auto to = at_;
    while (to < source_.size() && (starts_name(source_[to]) || is_digit(source_[to]))) ++to;
    push(token_kind::name, source_.substr(at_, to - at_));
    at_ = to;
  }

  void number() {
    auto to = at_;
    bool real = false;
    const auto digits = [&] {
      while (to < source_.size() && (is_digit(source_[to]) || source_[to] == '_')) ++to;
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    digits();
    if (to < source_.size() && source_[to] == '.' && digit_at(to + 1)) real = true, ++to, digits();
    if (to < source_.size() && (source_[to] == 'e' || source_[to] == 'E')) {
      const auto sign = to + 1 < source_.size() && (source_[to + 1] == '+' || source_[to + 1] == '-') ? 1u : 0u;
      if (digit_at(to + 1 + sign)) real = true, to += 1 + sign, digits();
    }
    auto text = source_.substr(at_, to - at_);
    std::erase(text, '_');
    push(real ? token_kind::real : token_kind::integer, std::move(text));
    at_ = to;
  }

  result<void> string(char quote) {
    std::string text;
    auto i = at_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] != '\\')
        text += source_[i++];
      else if (i + 1 >= source_.size())
        break;
      else if (!escape(i, text))
        return broken("a string has a bad escape");
    }
    if (i >= source_.size()) return broken("a string has no end");
    push(token_kind::string, std::move(text));
    move_to(i + 1);
    return {};
  }

  /// One escape at source_[i], as Python reads it; an unknown one keeps its backslash.
  bool escape(std::size_t& i, std::string& text) const {
    static constexpr std::string_view letters = "ntrabfv0\\'\"", meanings("\n\t\r\a\b\f\v\0\\'\"", 11);
    const char c = source_[i + 1];
    i += 2;
    if (c == '\n') return true;
    if (const auto known = letters.find(c); known != std::string_view::npos) return text += meanings[known], true;
    const std::size_t size = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (size == 0) return (text += '\\') += c, true;
    char32_t code = 0;
    for (const auto end = i + size; i < end; ++i) {
      const char digit = i < source_.size() ? source_[i] : ' ';
      const auto value = std::string_view("0123456789abcdef").find(char(digit | 0x20));
      if (value == std::string_view::npos || digit == ' ') return false;
      code = code << 4 | char32_t(value);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    utf8::append(code, text);
    return true;
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<token> tokens_;
};

} // namespace

result<std::vector<token>> tokenise(std::string_view source) { return scanner(with_plain_newlines(source)).run(); }

} // namespace quadrant::model::jinja
