#include "model/jinja/parser.hpp"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <span>

#include "model/jinja/filters.hpp"
#include "model/jinja/lexer.hpp"

namespace quadrant::model::jinja {
namespace {

using enum expression_kind;
constexpr int max_nesting = 150;    ///< of brackets and blocks: what the parser's own stack holds
constexpr int max_tree_depth = 400; ///< of operators in a row: what evaluating recurses into

class parser {
public:
  explicit parser(std::vector<token> tokens) : tokens_(std::move(tokens)) {}

  result<block> program() {
    std::string_view no_end;
    return body({}, no_end);
  }

private:
  using node = result<expression_ref>;

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

  // Statements

  /// Statements up to a tag of `ends`, which is taken and named in `end`. With no ends, up to the end of the template.
  result<block> body(std::span<const std::string_view> ends, std::string_view& end) {
    if (++nesting_ > max_nesting) return fail("nested too deep");
    block b;
    while (now().kind != token_kind::end) {
      if (now().kind == token_kind::open_block && ahead().kind == token_kind::name) {
        const auto found = std::ranges::find(ends, ahead().text);
        if (found != ends.end()) {
          end = *found;
          take(), take();
          --nesting_;
          return b;
        }
      }
      QUADRANT_TRY(auto s, one_statement());
      b.statements.push_back(std::move(s));
    }
    if (!ends.empty()) return unexpected("{% " + std::string(ends.back()) + " %}");
    --nesting_;
    return b;
  }
  /// A body whose end tag holds nothing more.
  result<block> closed_body(std::string_view end_word) {
    std::string_view end;
    QUADRANT_TRY(auto b, body({&end_word, 1}, end));
    QUADRANT_TRY_VOID(expect_close());
    return b;
  }

  result<statement> one_statement() {
    statement s;
    s.line = now().line;
    if (now().kind == token_kind::text) {
      s.text = value::text(take().text, true);
      return s;
    }
    if (now().kind == token_kind::open_output) {
      take();
      s.kind = statement_kind::output;
      QUADRANT_TRY(s.subject, tuple());
      if (now().kind != token_kind::close_output) return unexpected("}}");
      take();
      return s;
    }
    take();
    QUADRANT_TRY(const auto tag, expect_name());
    if (tag == "if") return branch(std::move(s));
    if (tag == "for") return loop(std::move(s));
    if (tag == "set") return assign(std::move(s));
    if (tag == "macro") return macro(std::move(s));
    if (tag == "break" || tag == "continue") {
      s.kind = tag == "break" ? statement_kind::leave_loop : statement_kind::next_turn;
      QUADRANT_TRY_VOID(expect_close());
      return s;
    }
    if (tag == "generation") {
      s.kind = statement_kind::scoped;
      QUADRANT_TRY_VOID(expect_close());
      QUADRANT_TRY(s.body, closed_body("endgeneration"));
      return s;
    }
    if (tag.starts_with("end") || tag == "else" || tag == "elif") return fail("tag '" + tag + "' closes nothing");
    return fail("tag '" + tag + "' is not supported; known: if, for, set, macro, break, continue, generation",
                errc::unavailable);
  }

  result<statement> branch(statement s) {
    s.kind = statement_kind::branch;
    QUADRANT_TRY(s.subject, tuple());
    QUADRANT_TRY_VOID(expect_close());
    static constexpr std::string_view ends[] = {"elif", "else", "endif"};
    std::string_view end;
    QUADRANT_TRY(s.body, body(ends, end));
    if (end == "elif") {
      if (++nesting_ > max_nesting) return fail("too many elif");
      statement inner;
      inner.line = now().line;
      QUADRANT_TRY(inner, branch(std::move(inner)));
      --nesting_;
      s.other.statements.push_back(std::move(inner));
      return s;
    }
    QUADRANT_TRY_VOID(expect_close());
    if (end == "else") {
      QUADRANT_TRY(s.other, closed_body("endif"));
    }
    return s;
  }

  result<statement> loop(statement s) {
    s.kind = statement_kind::loop;
    QUADRANT_TRY(s.names, names());
    if (!skip_name("in")) return unexpected("'in'");
    QUADRANT_TRY(s.subject, either());
    if (skip_name("if")) {
      QUADRANT_TRY(s.condition, any());
    }
    if (now().is(token_kind::name, "recursive")) return fail("recursive loops are not supported", errc::unavailable);
    QUADRANT_TRY_VOID(expect_close());
    static constexpr std::string_view ends[] = {"else", "endfor"};
    std::string_view end;
    QUADRANT_TRY(s.body, body(ends, end));
    QUADRANT_TRY_VOID(expect_close());
    if (end == "else") {
      QUADRANT_TRY(s.other, closed_body("endfor"));
    }
    return s;
  }

  result<std::vector<std::string>> names() {
    const bool bracket = skip_op("(");
    std::vector<std::string> list;
    do {
      QUADRANT_TRY(auto name, expect_name());
      list.push_back(std::move(name));
    } while (skip_op(","));
    if (bracket) QUADRANT_TRY_VOID(expect_op(")"));
    return list;
  }

  result<statement> assign(statement s) {
    QUADRANT_TRY(s.names, names());
    if (s.names.size() == 1 && skip_op(".")) {
      s.to_attribute = true;
      QUADRANT_TRY(auto attribute, expect_name());
      s.names.push_back(std::move(attribute));
    }
    if (skip_op("=")) {
      s.kind = statement_kind::assign;
      QUADRANT_TRY(s.subject, tuple());
      QUADRANT_TRY_VOID(expect_close());
      return s;
    }
    s.kind = statement_kind::capture;
    if (s.names.size() != 1) return unexpected("'='");
    QUADRANT_TRY_VOID(expect_close());
    QUADRANT_TRY(s.body, closed_body("endset"));
    return s;
  }

  result<statement> macro(statement s) {
    s.kind = statement_kind::define_macro;
    QUADRANT_TRY(s.word, expect_name());
    QUADRANT_TRY_VOID(expect_op("("));
    while (!skip_op(")")) {
      if (!s.names.empty()) QUADRANT_TRY_VOID(expect_op(","));
      QUADRANT_TRY(auto name, expect_name());
      s.names.push_back(std::move(name));
      expression_ref fallback;
      if (skip_op("=")) {
        QUADRANT_TRY(fallback, any());
      }
      s.defaults.push_back(std::move(fallback));
    }
    QUADRANT_TRY_VOID(expect_close());
    QUADRANT_TRY(s.body, closed_body("endmacro"));
    return s;
  }

  // Expressions, loosest first

  [[nodiscard]] expression_ref make(expression_kind kind, int line, std::string word = {}) const {
    auto e = std::make_unique<expression>();
    e->kind = kind, e->line = line, e->word = std::move(word);
    return e;
  }
  /// Puts the operands under `e`.
  template <class... Operands>
  node join(expression_ref e, Operands... operands) {
    const auto add = [&](expression_ref operand) {
      if (operand != nullptr) e->depth = std::max(e->depth, operand->depth + 1);
      e->operands.push_back(std::move(operand));
    };
    (add(std::move(operands)), ...);
    if (e->depth > max_tree_depth) return fail("an expression is too long");
    return e;
  }

  /// An expression, or a list of them with commas between.
  node tuple() {
    const auto line = now().line;
    QUADRANT_TRY(auto first, any());
    if (!now().is(token_kind::op, ",")) return first;
    QUADRANT_TRY(auto list, join(make(list_display, line), std::move(first)));
    while (skip_op(",")) {
      const auto kind = now().kind;
      if (kind == token_kind::close_block || kind == token_kind::close_output || now().is(token_kind::op, ")")) break;
      QUADRANT_TRY(auto item, any());
      QUADRANT_TRY(list, join(std::move(list), std::move(item)));
    }
    return list;
  }

  node any() {
    if (++nesting_ > max_nesting) return fail("nested too deep");
    QUADRANT_TRY(auto left, either());
    while (now().is(token_kind::name, "if")) {
      const auto line = take().line;
      QUADRANT_TRY(auto condition, either());
      expression_ref otherwise;
      if (skip_name("else")) {
        QUADRANT_TRY(otherwise, any());
      }
      QUADRANT_TRY(left, join(make(conditional, line), std::move(left), std::move(condition), std::move(otherwise)));
    }
    --nesting_;
    return left;
  }

  /// A run of left-associative operators; `next` reads an operand.
  node chain(token_kind kind, std::initializer_list<std::string_view> words, node (parser::*next)()) {
    QUADRANT_TRY(auto left, (this->*next)());
    while (now().kind == kind && std::ranges::find(words, now().text) != words.end()) {
      const auto& op = take();
      QUADRANT_TRY(auto right, (this->*next)());
      QUADRANT_TRY(left, join(make(binary, op.line, op.text), std::move(left), std::move(right)));
    }
    return left;
  }
  node either() { return chain(token_kind::name, {"or"}, &parser::both); }
  node both() { return chain(token_kind::name, {"and"}, &parser::negation); }
  node negation() {
    if (!now().is(token_kind::name, "not")) return comparison();
    if (++nesting_ > max_nesting) return fail("nested too deep");
    const auto line = take().line;
    QUADRANT_TRY(auto operand, negation());
    --nesting_;
    return join(make(unary, line, "not"), std::move(operand));
  }
  node comparison() {
    static constexpr std::string_view symbols[] = {"==", "!=", "<", "<=", ">", ">="};
    QUADRANT_TRY(auto left, sum());
    expression_ref whole;
    while (true) {
      std::string word;
      if (now().kind == token_kind::op && std::ranges::find(symbols, now().text) != std::end(symbols))
        word = now().text;
      else if (now().is(token_kind::name, "in"))
        word = "in";
      else if (now().is(token_kind::name, "not") && ahead().is(token_kind::name, "in"))
        take(), word = "not in";
      else
        break;
      const auto line = take().line;
      QUADRANT_TRY(auto right, sum());
      if (whole == nullptr) {
        QUADRANT_TRY(whole, join(make(expression_kind::comparison, line), std::move(left)));
      }
      QUADRANT_TRY(whole, join(std::move(whole), std::move(right)));
      whole->words.push_back(std::move(word));
    }
    return whole != nullptr ? std::move(whole) : std::move(left);
  }
  node sum() { return chain(token_kind::op, {"+", "-"}, &parser::concatenation); }
  node concatenation() { return chain(token_kind::op, {"~"}, &parser::product); }
  node product() { return chain(token_kind::op, {"*", "/", "//", "%"}, &parser::power); }
  node power() { return chain(token_kind::op, {"**"}, &parser::filtered); }

  node filtered() {
    QUADRANT_TRY(auto e, signed_term());
    while (true) {
      if (skip_op("|")) {
        QUADRANT_TRY(e, filter(std::move(e)));
      } else if (now().is(token_kind::name, "is")) {
        QUADRANT_TRY(e, test(std::move(e)));
      } else if (now().is(token_kind::op, "(")) {
        QUADRANT_TRY(e, call(std::move(e)));
      } else
        return e;
    }
  }
  node signed_term() {
    if (now().is(token_kind::op, "-") || now().is(token_kind::op, "+")) {
      if (++nesting_ > max_nesting) return fail("nested too deep");
      const auto& op = take();
      QUADRANT_TRY(auto operand, signed_term());
      --nesting_;
      return join(make(unary, op.line, op.text), std::move(operand));
    }
    QUADRANT_TRY(auto e, primary());
    return postfix(std::move(e));
  }

  node postfix(expression_ref e) {
    while (true) {
      if (skip_op(".")) {
        QUADRANT_TRY(e, attribute(std::move(e)));
      } else if (now().is(token_kind::op, "[")) {
        QUADRANT_TRY(e, subscript(std::move(e)));
      } else if (now().is(token_kind::op, "(")) {
        QUADRANT_TRY(e, call(std::move(e)));
      } else
        return e;
    }
  }
  node attribute(expression_ref object) {
    const auto line = now().line;
    if (now().kind != token_kind::integer) {
      QUADRANT_TRY(auto name, expect_name());
      return join(make(expression_kind::attribute, line, std::move(name)), std::move(object));
    }
    QUADRANT_TRY(auto place, primary());
    return join(make(index, line), std::move(object), std::move(place));
  }
  node subscript(expression_ref object) {
    const auto line = take().line;
    expression_ref parts[3];
    int num_colons = 0;
    while (!now().is(token_kind::op, "]")) {
      if (skip_op(":")) {
        if (++num_colons > 2) return fail("a slice has at most two colons");
        continue;
      }
      if (parts[num_colons] != nullptr) return unexpected("']'");
      QUADRANT_TRY(parts[num_colons], any());
    }
    take();
    if (num_colons > 0)
      return join(make(slice, line), std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
    if (parts[0] == nullptr) return fail("an index is empty");
    return join(make(index, line), std::move(object), std::move(parts[0]));
  }

  /// The arguments in brackets, put under `e`.
  node bracketed(expression_ref e) {
    QUADRANT_TRY_VOID(expect_op("("));
    for (bool first = true; !skip_op(")"); first = false) {
      if (!first) QUADRANT_TRY_VOID(expect_op(","));
      if (skip_op(")")) break;
      if (now().is(token_kind::op, "*") || now().is(token_kind::op, "**"))
        return fail("* and ** arguments are not supported", errc::unavailable);
      if (now().kind == token_kind::name && ahead().is(token_kind::op, "=")) {
        auto name = take().text;
        take();
        QUADRANT_TRY(auto argument, any());
        e->depth = std::max(e->depth, argument->depth + 1);
        e->named.emplace_back(std::move(name), std::move(argument));
        continue;
      }
      QUADRANT_TRY(auto argument, any());
      QUADRANT_TRY(e, join(std::move(e), std::move(argument)));
    }
    return e;
  }
  node call(expression_ref function) {
    QUADRANT_TRY(auto e, join(make(expression_kind::call, now().line), std::move(function)));
    return bracketed(std::move(e));
  }
  node filter(expression_ref subject) {
    const auto line = now().line;
    QUADRANT_TRY(auto name, expect_name());
    if (!is_filter(name)) return fail("filter '" + name + "' is not supported", errc::unavailable);
    QUADRANT_TRY(auto e, join(make(expression_kind::filter, line, std::move(name)), std::move(subject)));
    return now().is(token_kind::op, "(") ? bracketed(std::move(e)) : node(std::move(e));
  }
  node test(expression_ref subject) {
    const auto line = take().line;
    const bool negated = skip_name("not");
    QUADRANT_TRY(auto name, expect_name());
    if (!is_test(name)) return fail("test '" + name + "' is not supported", errc::unavailable);
    QUADRANT_TRY(auto e, join(make(expression_kind::test, line, std::move(name)), std::move(subject)));
    static constexpr std::string_view joints[] = {"else", "or", "and", "if", "is", "in", "not"};
    const auto kind = now().kind;
    const bool has_argument = kind == token_kind::string || kind == token_kind::integer || kind == token_kind::real ||
                              now().is(token_kind::op, "[") || now().is(token_kind::op, "{") ||
                              (kind == token_kind::name && std::ranges::find(joints, now().text) == std::end(joints));
    if (now().is(token_kind::op, "(")) {
      QUADRANT_TRY(e, bracketed(std::move(e)));
    }
    if (has_argument) {
      QUADRANT_TRY(auto argument, primary());
      QUADRANT_TRY(argument, postfix(std::move(argument)));
      QUADRANT_TRY(e, join(std::move(e), std::move(argument)));
    }
    return negated ? join(make(unary, line, "not"), std::move(e)) : node(std::move(e));
  }

  node primary() {
    const auto& t = now();
    auto constant = make(literal, t.line);
    switch (t.kind) {
    case token_kind::name:
      take();
      if (t.text == "true" || t.text == "True" || t.text == "false" || t.text == "False")
        constant->constant = value::boolean(t.text == "true" || t.text == "True");
      else if (t.text == "none" || t.text == "None")
        constant->constant = value::none();
      else
        return make(name, t.line, t.text);
      return constant;
    case token_kind::string: {
      std::string text;
      while (now().kind == token_kind::string) text += take().text;
      constant->constant = value::text(text, true);
      return constant;
    }
    case token_kind::integer:
    case token_kind::real: return number(std::move(constant));
    case token_kind::op:
      if (skip_op("(")) return group();
      if (skip_op("[")) return list_of(list_display, "]");
      if (skip_op("{")) return list_of(dict_display, "}");
      [[fallthrough]];
    default: return unexpected("an expression");
    }
  }
  node number(expression_ref constant) {
    const auto& text = now().text;
    const char* end = text.data() + text.size();
    std::int64_t whole = 0;
    double real = 0;
    const bool is_whole = now().kind == token_kind::integer;
    const auto read = is_whole ? std::from_chars(text.data(), end, whole) : std::from_chars(text.data(), end, real);
    if (read.ec != std::errc() || read.ptr != end) return fail("number " + text + " is out of range");
    take();
    constant->constant = is_whole ? value::integer(whole) : value::real(real);
    return constant;
  }
  node group() {
    if (skip_op(")")) return make(list_display, now().line);
    QUADRANT_TRY(auto e, tuple());
    QUADRANT_TRY_VOID(expect_op(")"));
    return e;
  }
  node list_of(expression_kind kind, std::string_view close) {
    auto e = make(kind, now().line);
    while (!skip_op(close)) {
      if (!e->operands.empty()) {
        QUADRANT_TRY_VOID(expect_op(","));
        if (skip_op(close)) break;
      }
      QUADRANT_TRY(auto item, any());
      QUADRANT_TRY(e, join(std::move(e), std::move(item)));
      if (kind != dict_display) continue;
      QUADRANT_TRY_VOID(expect_op(":"));
      QUADRANT_TRY(auto content, any());
      QUADRANT_TRY(e, join(std::move(e), std::move(content)));
    }
    return e;
  }

  std::vector<token> tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

} // namespace

result<std::shared_ptr<const block>> parse(std::string_view source) {
  QUADRANT_TRY(auto tokens, tokenise(source));
  QUADRANT_TRY(auto program, parser(std::move(tokens)).program());
  return std::make_shared<const block>(std::move(program));
}

} // namespace quadrant::model::jinja
