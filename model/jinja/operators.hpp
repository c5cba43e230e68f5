// model/jinja/operators.hpp: arithmetic, comparison and concatenation, as Python does them on 64-bit integers.
// Errors  errc::invalid_argument, without the line: operands that do not go together, 0 as a divisor, a number that
//         64 bits do not hold
// Threads any
#pragma once
#include <string_view>

#include "config/result.hpp"
#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

/// a op b; op is one of + - * / // % ** ~
result<value> apply_binary(std::string_view op, const value& a, const value& b);
/// op a; op is + or -
result<value> apply_sign(std::string_view op, const value& a);
/// a op b; op is one of == != < <= > >= in "not in"
result<bool> compare(std::string_view op, const value& a, const value& b);

} // namespace quadrant::model::jinja
