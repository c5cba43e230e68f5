// config/log.hpp: one line an event, to stderr: time, level, where, what.
// Threads any
#pragma once
#include <string_view>

namespace quadrant::log {

enum class level { debug, info, warn, error, off };

/// From QUADRANT_LOG=debug|info|warn|error|off; `fallback` where it is unset or unknown.
void start(level fallback);
void debug(std::string_view who, std::string_view what);
void info(std::string_view who, std::string_view what);
void warn(std::string_view who, std::string_view what);
void error(std::string_view who, std::string_view what);

} // namespace quadrant::log
