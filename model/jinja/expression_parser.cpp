#include "model/jinja/expression_parser.hpp"

#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "model/jinja/filters.hpp"

namespace quadrant::model::jinja {
namespace {

using enum expression_kind;
constexpr int max_tree_depth = 400; ///< of operators in a row: what evaluating recurses into

/// A function for each strength of binding, loosest first.
class expression_parser {
public:
  using node = result<expression_ref>;
  explicit expression_parser(token_cursor& tokens) : tokens_(tokens) {}

  /// An expression, or a list of them with commas between.
  node tuple() {
    const auto line = tokens_.now().line;
    QUADRANT_TRY(auto first, any());
    if (!tokens_.now().is(token_kind::op, ",")) return first;
    QUADRANT_TRY(auto list, join(make(list_display, line), std::move(first)));
    while (tokens_.skip_op(",")) {
      const auto kind = tokens_.now().kind;
      if (kind == token_kind::close_block || kind == token_kind::close_output || tokens_.now().is(token_kind::op, ")"))
        break;
      QUADRANT_TRY(auto item, any());
      QUADRANT_TRY(list, join(std::move(list), std::move(item)));
    }
    return list;
  }

  node any() {
    QUADRANT_TRY_VOID(tokens_.enter());
    QUADRANT_TRY(auto left, either());
    while (tokens_.now().is(token_kind::name, "if")) {
      const auto line = tokens_.take().line;
      QUADRANT_TRY(auto condition, either());
      expression_ref otherwise;
      if (tokens_.skip_name("else")) {
        QUADRANT_TRY(otherwise, any());
      }
      QUADRANT_TRY(left, join(make(conditional, line), std::move(left), std::move(condition), std::move(otherwise)));
    }
    tokens_.leave();
    return left;
  }

  /// A run of left-associative operators; `next` reads an operand.
  node chain(token_kind kind, std::initializer_list<std::string_view> words, node (expression_parser::*next)()) {
    QUADRANT_TRY(auto left, (this->*next)());
    while (tokens_.now().kind == kind && std::ranges::find(words, tokens_.now().text) != words.end()) {
      const auto& op = tokens_.take();
      QUADRANT_TRY(auto right, (this->*next)());
      QUADRANT_TRY(left, join(make(binary, op.line, op.text), std::move(left), std::move(right)));
    }
    return left;
  }
  node either() { return chain(token_kind::name, {"or"}, &expression_parser::both); }
  node both() { return chain(token_kind::name, {"and"}, &expression_parser::negation); }
  node negation() {
    if (!tokens_.now().is(token_kind::name, "not")) return comparison();
    QUADRANT_TRY_VOID(tokens_.enter());
    const auto line = tokens_.take().line;
    QUADRANT_TRY(auto operand, negation());
    tokens_.leave();
    return join(make(unary, line, "not"), std::move(operand));
  }
  node comparison() {
    static constexpr std::string_view symbols[] = {"==", "!=", "<", "<=", ">", ">="};
    QUADRANT_TRY(auto left, sum());
    expression_ref whole;
    while (true) {
      std::string word;
      if (tokens_.now().kind == token_kind::op && std::ranges::find(symbols, tokens_.now().text) != std::end(symbols))
        word = tokens_.now().text;
      else if (tokens_.now().is(token_kind::name, "in"))
        word = "in";
      else if (tokens_.now().is(token_kind::name, "not") && tokens_.ahead().is(token_kind::name, "in"))
        tokens_.take(), word = "not in";
      else
        break;
      const auto line = tokens_.take().line;
      QUADRANT_TRY(auto right, sum());
      if (whole == nullptr) {
        QUADRANT_TRY(whole, join(make(expression_kind::comparison, line), std::move(left)));
      }
      QUADRANT_TRY(whole, join(std::move(whole), std::move(right)));
      whole->words.push_back(std::move(word));
    }
    return whole != nullptr ? std::move(whole) : std::move(left);
  }
  node sum() { return chain(token_kind::op, {"+", "-"}, &expression_parser::concatenation); }
  node concatenation() { return chain(token_kind::op, {"~"}, &expression_parser::product); }
  node product() { return chain(token_kind::op, {"*", "/", "//", "%"}, &expression_parser::power); }
  node power() { return chain(token_kind::op, {"**"}, &expression_parser::filtered); }

  /// A row of filters, without what they are to filter.
  node filters() {
    QUADRANT_TRY(auto e, filter(make(name, tokens_.now().line, filtered_body)));
    while (tokens_.skip_op("|")) {
      QUADRANT_TRY(e, filter(std::move(e)));
    }
    return e;
  }
  node filtered() {
    QUADRANT_TRY(auto e, signed_term());
    while (true) {
      if (tokens_.skip_op("|")) {
        QUADRANT_TRY(e, filter(std::move(e)));
      } else if (tokens_.now().is(token_kind::name, "is")) {
        QUADRANT_TRY(e, test(std::move(e)));
      } else if (tokens_.now().is(token_kind::op, "(")) {
        QUADRANT_TRY(e, call(std::move(e)));
      } else
        return e;
    }
  }
  node signed_term() {
    if (tokens_.now().is(token_kind::op, "-") || tokens_.now().is(token_kind::op, "+")) {
      QUADRANT_TRY_VOID(tokens_.enter());
      const auto& op = tokens_.take();
      QUADRANT_TRY(auto operand, signed_term());
      tokens_.leave();
      return join(make(unary, op.line, op.text), std::move(operand));
    }
    QUADRANT_TRY(auto e, primary());
    return postfix(std::move(e));
  }

  node postfix(expression_ref e) {
    while (true) {
      if (tokens_.skip_op(".")) {
        QUADRANT_TRY(e, attribute(std::move(e)));
      } else if (tokens_.now().is(token_kind::op, "[")) {
        QUADRANT_TRY(e, subscript(std::move(e)));
      } else if (tokens_.now().is(token_kind::op, "(")) {
        QUADRANT_TRY(e, call(std::move(e)));
      } else
        return e;
    }
  }
  node attribute(expression_ref object) {
    const auto line = tokens_.now().line;
    if (tokens_.now().kind != token_kind::integer) {
      QUADRANT_TRY(auto name, tokens_.expect_name());
      return join(make(expression_kind::attribute, line, std::move(name)), std::move(object));
    }
    QUADRANT_TRY(auto place, primary());
    return join(make(index, line), std::move(object), std::move(place));
  }
  node subscript(expression_ref object) {
    const auto line = tokens_.take().line;
    expression_ref parts[3];
    int num_colons = 0;
    while (!tokens_.now().is(token_kind::op, "]")) {
      if (tokens_.skip_op(":")) {
        if (++num_colons > 2) return tokens_.fail("a slice has at most two colons");
        continue;
      }
      if (parts[num_colons] != nullptr) return tokens_.unexpected("']'");
      QUADRANT_TRY(parts[num_colons], any());
    }
    tokens_.take();
    if (num_colons > 0)
      return join(make(slice, line), std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
    if (parts[0] == nullptr) return tokens_.fail("an index is empty");
    return join(make(index, line), std::move(object), std::move(parts[0]));
  }

  /// The arguments in brackets, put under `e`.
  node bracketed(expression_ref e) {
    QUADRANT_TRY_VOID(tokens_.expect_op("("));
    for (bool first = true; !tokens_.skip_op(")"); first = false) {
      if (!first) QUADRANT_TRY_VOID(tokens_.expect_op(","));
      if (tokens_.skip_op(")")) break;
      if (tokens_.now().is(token_kind::op, "*") || tokens_.now().is(token_kind::op, "**"))
        return tokens_.fail("* and ** arguments are not supported", errc::unavailable);
      if (tokens_.now().kind == token_kind::name && tokens_.ahead().is(token_kind::op, "=")) {
        auto name = tokens_.take().text;
        tokens_.take();
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
    QUADRANT_TRY(auto e, join(make(expression_kind::call, tokens_.now().line), std::move(function)));
    return bracketed(std::move(e));
  }
  node filter(expression_ref subject) {
    const auto line = tokens_.now().line;
    QUADRANT_TRY(auto name, tokens_.expect_name());
    if (!is_filter(name)) return tokens_.fail("filter '" + name + "' is not supported", errc::unavailable);
    QUADRANT_TRY(auto e, join(make(expression_kind::filter, line, std::move(name)), std::move(subject)));
    return tokens_.now().is(token_kind::op, "(") ? bracketed(std::move(e)) : node(std::move(e));
  }
  node test(expression_ref subject) {
    const auto line = tokens_.take().line;
    const bool negated = tokens_.skip_name("not");
    QUADRANT_TRY(auto name, tokens_.expect_name());
    if (!is_test(name)) return tokens_.fail("test '" + name + "' is not supported", errc::unavailable);
    QUADRANT_TRY(auto e, join(make(expression_kind::test, line, std::move(name)), std::move(subject)));
    static constexpr std::string_view joints[] = {"else", "or", "and", "if", "is", "in", "not"};
    const auto kind = tokens_.now().kind;
    const bool has_argument =
        kind == token_kind::string || kind == token_kind::integer || kind == token_kind::real ||
        tokens_.now().is(token_kind::op, "[") || tokens_.now().is(token_kind::op, "{") ||
        (kind == token_kind::name && std::ranges::find(joints, tokens_.now().text) == std::end(joints));
    if (tokens_.now().is(token_kind::op, "(")) {
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
    const auto& t = tokens_.now();
    auto constant = make(literal, t.line);
    switch (t.kind) {
    case token_kind::name:
      tokens_.take();
      if (t.text == "true" || t.text == "True" || t.text == "false" || t.text == "False")
        constant->constant = value::boolean(t.text == "true" || t.text == "True");
      else if (t.text == "none" || t.text == "None")
        constant->constant = value::none();
      else
        return make(name, t.line, t.text);
      return constant;
    case token_kind::string: {
      std::string text;
      while (tokens_.now().kind == token_kind::string) text += tokens_.take().text;
      constant->constant = value::text(text, true);
      return constant;
    }
    case token_kind::integer:
    case token_kind::real: return number(std::move(constant));
    case token_kind::op:
      if (tokens_.skip_op("(")) return group();
      if (tokens_.skip_op("[")) return list_of(list_display, "]");
      if (tokens_.skip_op("{")) return list_of(dict_display, "}");
      [[fallthrough]];
    default: return tokens_.unexpected("an expression");
    }
  }
  node number(expression_ref constant) {
    const auto& text = tokens_.now().text;
    const char* end = text.data() + text.size();
    std::int64_t whole = 0;
    double real = 0;
    const bool is_whole = tokens_.now().kind == token_kind::integer;
    const auto read = is_whole ? std::from_chars(text.data(), end, whole) : std::from_chars(text.data(), end, real);
    if (read.ec != std::errc() || read.ptr != end) return tokens_.fail("number " + text + " is out of range");
    tokens_.take();
    constant->constant = is_whole ? value::integer(whole) : value::real(real);
    return constant;
  }
  node group() {
    if (tokens_.skip_op(")")) return make(list_display, tokens_.now().line);
    QUADRANT_TRY(auto e, tuple());
    QUADRANT_TRY_VOID(tokens_.expect_op(")"));
    return e;
  }
  node list_of(expression_kind kind, std::string_view close) {
    auto e = make(kind, tokens_.now().line);
    while (!tokens_.skip_op(close)) {
      if (!e->operands.empty()) {
        QUADRANT_TRY_VOID(tokens_.expect_op(","));
        if (tokens_.skip_op(close)) break;
      }
      QUADRANT_TRY(auto item, any());
      QUADRANT_TRY(e, join(std::move(e), std::move(item)));
      if (kind != dict_display) continue;
      QUADRANT_TRY_VOID(tokens_.expect_op(":"));
      QUADRANT_TRY(auto content, any());
      QUADRANT_TRY(e, join(std::move(e), std::move(content)));
    }
    return e;
  }

private:
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
    if (e->depth > max_tree_depth) return tokens_.fail("an expression is too long");
    return e;
  }

  token_cursor& tokens_;
};

} // namespace

result<expression_ref> parse_expression(token_cursor& tokens) { return expression_parser(tokens).any(); }
result<expression_ref> parse_expressions(token_cursor& tokens) { return expression_parser(tokens).tuple(); }
result<expression_ref> parse_filters(token_cursor& tokens) { return expression_parser(tokens).filters(); }
result<expression_ref> parse_unconditional(token_cursor& tokens) { return expression_parser(tokens).either(); }

} // namespace quadrant::model::jinja
