// actors/bin/json_lines.hpp: a command that answers every line of standard input, a JSON value, with a line.
// Threads one
#pragma once
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "config/result.hpp"

namespace quadrant::bin {

/// Appends the answer to one value to `to`, without the end of the line.
using line_answer = std::function<result<void>(const nlohmann::ordered_json& asked, std::string& to)>;

/// Writes the answers to standard output, many at a time, until standard input ends.
/// Errors  errc::invalid_argument: the number of a line and what is wrong with it; those before it are answered.
///         errc::unavailable: standard input cannot be read, or standard output not be written
result<void> answer_lines(const line_answer& answer);

/// `text` as a JSON string.
void append_json(const std::string& text, std::string& to);

} // namespace quadrant::bin
