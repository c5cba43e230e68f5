// model/jinja/interpreter.hpp: a tree and its variables to text.
// Limits  those of chat_template.hpp, and expressions and blocks 1000 levels deep in all: what the stack holds
// Errors  errc::invalid_argument: line and cause; what raise_exception says comes through as it is
// Threads any; one call keeps all it needs to itself
#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "config/result.hpp"
#include "model/jinja/ast.hpp"
#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

struct environment {
  std::vector<std::pair<std::string, value>> variables; ///< a later one of the same name rules
  std::chrono::system_clock::time_point now;            ///< of strftime_now
};

result<marked_text> interpret(const block& program, const environment& with);

} // namespace quadrant::model::jinja
