// model/jinja/token_cursor.hpp: a place in a template's tokens, and what a parser does there.
// Errors  errc::corrupt, naming the line
// Threads one at a time
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/result.hpp"
#include "model/jinja/lexer.hpp"

namespace quadrant::model::jinja {

class token_cursor {
public:
  explicit token_cursor(std::vector<token> tokens) : tokens_(std::move(tokens)) {}

  [[nodiscard]] const token& now() const { return tokens_[at_]; }
  [[nodiscard]] const token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool skip(token_kind kind, std::string_view word) {
    if (!now().is(kind, word)) return false;
    take();
    return true;
  }
  bool skip_name(std::string_view word) { return skip(token_kind::name, word); }
  bool skip_op(std::string_view word) { return skip(token_kind::op, word); }

  [[nodiscard]] failure fail(const std::string& what, errc code = errc::corrupt) const {
    return {code, "chat template, line " + std::to_string(now().line) + ": " + what};
  }
  [[nodiscard]] failure unexpected(const std::string& wanted) const {
    const auto& t = now();
    const auto seen = t.kind == token_kind::end            ? std::string("the end of the template")
                      : t.kind == token_kind::close_block  ? "%}"
                      : t.kind == token_kind::close_output ? "}}"
                                                           : "'" + t.text + "'";
    return fail("expected " + wanted + ", found " + seen);
  }
  result<void> expect_op(std::string_view word) {
    if (skip_op(word)) return {};
    return unexpected("'" + std::string(word) + "'");
  }
  result<std::string> expect_name() {
    if (now().kind != token_kind::name) return unexpected("a name");
    return take().text;
  }
  result<void> expect_close() {
    if (now().kind != token_kind::close_block) return unexpected("%}");
    take();
    return {};
  }

  /// One bracket or block deeper, and out of it again.
  result<void> enter() {
    if (++nesting_ > max_nesting) return fail("nested too deep");
    return {};
  }
  void leave() { --nesting_; }

private:
  static constexpr int max_nesting = 150; ///< what a parser's own stack holds

  std::vector<token> tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

} // namespace quadrant::model::jinja
