#include "model/jinja/parser.hpp"

#include <algorithm>
#include <span>

#include "model/jinja/expression_parser.hpp"

namespace quadrant::model::jinja {
namespace {

class statement_parser {
public:
  explicit statement_parser(std::vector<token> tokens) : tokens_(std::move(tokens)) {}

  result<block> program() {
    std::string_view no_end;
    return body({}, no_end);
  }

private:
  /// Statements up to a tag of `ends`, which is taken and named in `end`. With no ends, up to the end of the template.
  result<block> body(std::span<const std::string_view> ends, std::string_view& end) {
    QUADRANT_TRY_VOID(tokens_.enter());
    block b;
    while (tokens_.now().kind != token_kind::end) {
      if (tokens_.now().kind == token_kind::open_block && tokens_.ahead().kind == token_kind::name) {
        const auto found = std::ranges::find(ends, tokens_.ahead().text);
        if (found != ends.end()) {
          end = *found;
          tokens_.take(), tokens_.take();
          tokens_.leave();
          return b;
        }
      }
      QUADRANT_TRY(auto s, one_statement());
      b.statements.push_back(std::move(s));
    }
    if (!ends.empty()) return tokens_.unexpected("{% " + std::string(ends.back()) + " %}");
    tokens_.leave();
    return b;
  }
  /// A body whose end tag holds nothing more.
  result<block> closed_body(std::string_view end_word) {
    std::string_view end;
    QUADRANT_TRY(auto b, body({&end_word, 1}, end));
    QUADRANT_TRY_VOID(tokens_.expect_close());
    return b;
  }

  result<statement> one_statement() {
    statement s;
    s.line = tokens_.now().line;
    if (tokens_.now().kind == token_kind::text) {
      s.text = value::text(tokens_.take().text, true);
      return s;
    }
    if (tokens_.now().kind == token_kind::open_output) {
      tokens_.take();
      s.kind = statement_kind::output;
      QUADRANT_TRY(s.subject, parse_expressions(tokens_));
      if (tokens_.now().kind != token_kind::close_output) return tokens_.unexpected("}}");
      tokens_.take();
      return s;
    }
    tokens_.take();
    QUADRANT_TRY(const auto tag, tokens_.expect_name());
    if (tag == "if") return branch(std::move(s));
    if (tag == "for") return loop(std::move(s));
    if (tag == "set") return assign(std::move(s));
    if (tag == "macro") return macro(std::move(s));
    if (tag == "filter") return filter(std::move(s));
    if (tag == "break" || tag == "continue") {
      s.kind = tag == "break" ? statement_kind::leave_loop : statement_kind::next_turn;
      QUADRANT_TRY_VOID(tokens_.expect_close());
      return s;
    }
    if (tag == "generation") {
      s.kind = statement_kind::scoped;
      QUADRANT_TRY_VOID(tokens_.expect_close());
      QUADRANT_TRY(s.body, closed_body("endgeneration"));
      return s;
    }
    if (tag.starts_with("end") || tag == "else" || tag == "elif")
      return tokens_.fail("tag '" + tag + "' closes nothing");
    return tokens_.fail("tag '" + tag +
                            "' is not supported; known: if, for, set, macro, filter, break, continue, generation",
                        errc::unavailable);
  }

  result<statement> branch(statement s) {
    s.kind = statement_kind::branch;
    QUADRANT_TRY(s.subject, parse_expressions(tokens_));
    QUADRANT_TRY_VOID(tokens_.expect_close());
    static constexpr std::string_view ends[] = {"elif", "else", "endif"};
    std::string_view end;
    QUADRANT_TRY(s.body, body(ends, end));
    if (end == "elif") {
      QUADRANT_TRY_VOID(tokens_.enter());
      statement inner;
      inner.line = tokens_.now().line;
      QUADRANT_TRY(inner, branch(std::move(inner)));
      tokens_.leave();
      s.other.statements.push_back(std::move(inner));
      return s;
    }
    QUADRANT_TRY_VOID(tokens_.expect_close());
    if (end == "else") {
      QUADRANT_TRY(s.other, closed_body("endif"));
    }
    return s;
  }

  result<statement> loop(statement s) {
    s.kind = statement_kind::loop;
    QUADRANT_TRY(s.names, names());
    if (!tokens_.skip_name("in")) return tokens_.unexpected("'in'");
    QUADRANT_TRY(s.subject, parse_unconditional(tokens_));
    if (tokens_.skip_name("if")) {
      QUADRANT_TRY(s.condition, parse_expression(tokens_));
    }
    if (tokens_.now().is(token_kind::name, "recursive"))
      return tokens_.fail("recursive loops are not supported", errc::unavailable);
    QUADRANT_TRY_VOID(tokens_.expect_close());
    static constexpr std::string_view ends[] = {"else", "endfor"};
    std::string_view end;
    QUADRANT_TRY(s.body, body(ends, end));
    QUADRANT_TRY_VOID(tokens_.expect_close());
    if (end == "else") {
      QUADRANT_TRY(s.other, closed_body("endfor"));
    }
    return s;
  }

  result<std::vector<std::string>> names() {
    const bool bracket = tokens_.skip_op("(");
    std::vector<std::string> list;
    do {
      QUADRANT_TRY(auto name, tokens_.expect_name());
      list.push_back(std::move(name));
    } while (tokens_.skip_op(","));
    if (bracket) QUADRANT_TRY_VOID(tokens_.expect_op(")"));
    return list;
  }

  result<statement> assign(statement s) {
    QUADRANT_TRY(s.names, names());
    if (s.names.size() == 1 && tokens_.skip_op(".")) {
      s.to_attribute = true;
      QUADRANT_TRY(auto attribute, tokens_.expect_name());
      s.names.push_back(std::move(attribute));
    }
    if (tokens_.skip_op("=")) {
      s.kind = statement_kind::assign;
      QUADRANT_TRY(s.subject, parse_expressions(tokens_));
      QUADRANT_TRY_VOID(tokens_.expect_close());
      return s;
    }
    s.kind = statement_kind::capture;
    if (s.names.size() != 1) return tokens_.unexpected("'='");
    QUADRANT_TRY_VOID(tokens_.expect_close());
    QUADRANT_TRY(s.body, closed_body("endset"));
    return s;
  }

  result<statement> macro(statement s) {
    s.kind = statement_kind::define_macro;
    QUADRANT_TRY(s.word, tokens_.expect_name());
    QUADRANT_TRY_VOID(tokens_.expect_op("("));
    while (!tokens_.skip_op(")")) {
      if (!s.names.empty()) QUADRANT_TRY_VOID(tokens_.expect_op(","));
      QUADRANT_TRY(auto name, tokens_.expect_name());
      s.names.push_back(std::move(name));
      expression_ref fallback;
      if (tokens_.skip_op("=")) {
        QUADRANT_TRY(fallback, parse_expression(tokens_));
      }
      s.defaults.push_back(std::move(fallback));
    }
    QUADRANT_TRY_VOID(tokens_.expect_close());
    QUADRANT_TRY(s.body, closed_body("endmacro"));
    return s;
  }

  result<statement> filter(statement s) {
    s.kind = statement_kind::filtered;
    QUADRANT_TRY(s.subject, parse_filters(tokens_));
    QUADRANT_TRY_VOID(tokens_.expect_close());
    QUADRANT_TRY(s.body, closed_body("endfilter"));
    return s;
  }

  token_cursor tokens_;
};

} // namespace

result<std::shared_ptr<const block>> parse(std::string_view source) {
  QUADRANT_TRY(auto tokens, tokenise(source));
  QUADRANT_TRY(auto program, statement_parser(std::move(tokens)).program());
  return std::make_shared<const block>(std::move(program));
}

} // namespace quadrant::model::jinja
