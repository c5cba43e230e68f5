// model/jinja/ast.hpp: a template as a tree, made once and only read.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

struct expression;
using expression_ref = std::unique_ptr<expression>;

enum class expression_kind : std::uint8_t {
  literal,      ///< constant
  name,         ///< word
  list_display, ///< operands
  dict_display, ///< operands: key, value, key, value, ...
  attribute,    ///< operands[0].word
  index,        ///< operands[0][operands[1]]
  slice,        ///< operands[0][operands[1] : operands[2] : operands[3]], any of the three null
  call,         ///< operands[0](operands[1..], named)
  filter,       ///< operands[0] | word(operands[1..], named)
  test,         ///< operands[0] is word(operands[1..])
  unary,        ///< word operands[0]: + - not
  binary,       ///< operands[0] word operands[1]
  comparison,   ///< operands[0] words[0] operands[1] words[1] operands[2] ...
  conditional,  ///< operands[0] if operands[1] else operands[2], which may be null
};

struct expression {
  expression_kind kind = expression_kind::literal;
  int line = 0, depth = 1; ///< depth: of the tree below
  std::string word;
  value constant;
  std::vector<expression_ref> operands;
  std::vector<std::string> words;
  std::vector<std::pair<std::string, expression_ref>> named; ///< keyword arguments
};

struct statement;

struct block {
  std::vector<statement> statements;
};

enum class statement_kind : std::uint8_t {
  text,         ///< word
  output,       ///< subject
  branch,       ///< if subject: body, else: other
  loop,         ///< for names in subject if condition: body, else: other
  assign,       ///< set names = subject; or set names[0].names[1] = subject
  capture,      ///< set names: body
  define_macro, ///< macro word(names = defaults): body
  leave_loop,   ///< break
  next_turn,    ///< continue
  scoped,       ///< body, for a tag that only marks it (generation)
  filtered,     ///< subject, in which `filtered_body` is what body writes
};

/// The name of a filtered body in its filters' expression; no template can write it.
inline constexpr const char* filtered_body = "the body of a filter";

struct statement {
  statement_kind kind = statement_kind::text;
  int line = 0;
  std::string word;
  value text; ///< of a text statement
  bool to_attribute = false;
  std::vector<std::string> names;
  std::vector<expression_ref> defaults; ///< one a name; null where there is none
  expression_ref subject, condition;
  block body, other;
};

} // namespace quadrant::model::jinja
