// model/jinja/expression_parser.hpp: expressions of a template's tokens.
// Errors  errc::corrupt: line and cause; errc::unavailable: line and the filter or test that is not known here
// Threads one at a time
#pragma once
#include "config/result.hpp"
#include "model/jinja/ast.hpp"
#include "model/jinja/token_cursor.hpp"

namespace quadrant::model::jinja {

/// One expression.
result<expression_ref> parse_expression(token_cursor& tokens);
/// One, or a list of them with commas between.
result<expression_ref> parse_expressions(token_cursor& tokens);
/// The filters of `{% filter %}`, applied to the name `filtered_body`.
result<expression_ref> parse_filters(token_cursor& tokens);
/// One that is no `a if b else c`, for places where an `if` behind it means something else.
result<expression_ref> parse_unconditional(token_cursor& tokens);

} // namespace quadrant::model::jinja
