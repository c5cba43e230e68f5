// config/log.hpp: one line an event, to stderr: time, level, where, what, and fields for programs that read logs.
//
//   text   2025-01-31T12:00:00.250 info http: request id=req-7 status=200
//   json   {"time":"2025-01-31T12:00:00.250","level":"info","who":"http","what":"request","id":"req-7","status":200}
//
// Threads any, after start
#pragma once
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace quadrant::log {

enum class level { debug, info, warn, error, off };

/// From QUADRANT_LOG=debug|info|warn|error|off; `fallback` where it is unset or unknown.
/// QUADRANT_LOG_FORMAT=json writes objects; processes that are started inherit both.
void start(level fallback);
void debug(std::string_view who, std::string_view what);
void info(std::string_view who, std::string_view what);
void warn(std::string_view who, std::string_view what);
void error(std::string_view who, std::string_view what);

/// A name and a value: a number, or a text.
struct field {
  std::string_view name;
  std::string value;
  bool quoted; ///< in JSON

  field(std::string_view n, std::string_view text) : name(n), value(text), quoted(true) {}
  template <std::integral Number>
  field(std::string_view n, Number number) : name(n), value(std::to_string(number)), quoted(false) {}
};
/// An event with fields.
void info(std::string_view who, std::string_view what, std::initializer_list<field> fields);

} // namespace quadrant::log
