#include "config/log.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>

#include "config/progress.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace quadrant::log {
namespace {

constexpr const char* text_pattern = "%Y-%m-%dT%H:%M:%S.%e %l %v";
constexpr const char* json_pattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%e","level":"%l",%v})";

bool as_json = false; ///< set by start

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_logger_mt("quadrant");
    made->set_pattern(text_pattern);
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return *instance;
}

std::string quoted(std::string_view text) {
  std::string to = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      to.append({'\\', c});
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", unsigned(static_cast<unsigned char>(c)));
      to += code;
    } else {
      to += c;
    }
  }
  return to += '"';
}

/// One word stands as it is, so that a line stays one line and its fields stay apart.
std::string as_word(std::string_view text) {
  const auto plain = [](char c) { return c > ' ' && c != '"' && c != '=' && c != '\x7f'; };
  return !text.empty() && std::ranges::all_of(text, plain) ? std::string(text) : quoted(text);
}

std::string line(std::string_view who, std::string_view what, std::span<const field> fields) {
  auto to =
      as_json ? "\"who\":" + quoted(who) + ",\"what\":" + quoted(what) : std::string(who).append(": ").append(what);
  for (const auto& f : fields) {
    if (as_json)
      to.append(",").append(quoted(f.name)).append(":").append(f.quoted ? quoted(f.value) : f.value);
    else
      to.append(" ").append(f.name).append("=").append(as_word(f.value));
  }
  return to;
}

void write(spdlog::level::level_enum level, std::string_view who, std::string_view what,
           std::span<const field> fields = {}) {
  if (!logger().should_log(level)) return;
  progress::clear();
  logger().log(level, "{}", line(who, what, fields));
}

} // namespace

void start(level fallback) {
  static const std::map<std::string, level> words = {{"debug", level::debug},
                                                     {"info", level::info},
                                                     {"warn", level::warn},
                                                     {"error", level::error},
                                                     {"off", level::off}};
  if (const char* word = std::getenv("QUADRANT_LOG"))
    if (auto found = words.find(word); found != words.end()) fallback = found->second;
  const char* format = std::getenv("QUADRANT_LOG_FORMAT");
  as_json = format != nullptr && std::string_view(format) == "json";
  logger().set_pattern(as_json ? json_pattern : text_pattern);
  switch (fallback) {
  case level::debug: logger().set_level(spdlog::level::debug); break;
  case level::info: logger().set_level(spdlog::level::info); break;
  case level::warn: logger().set_level(spdlog::level::warn); break;
  case level::error: logger().set_level(spdlog::level::err); break;
  case level::off: logger().set_level(spdlog::level::off); break;
  }
}

void debug(std::string_view who, std::string_view what) { write(spdlog::level::debug, who, what); }
void info(std::string_view who, std::string_view what) { write(spdlog::level::info, who, what); }
void warn(std::string_view who, std::string_view what) { write(spdlog::level::warn, who, what); }
void error(std::string_view who, std::string_view what) { write(spdlog::level::err, who, what); }

void info(std::string_view who, std::string_view what, std::initializer_list<field> fields) {
  write(spdlog::level::info, who, what, {fields.begin(), fields.size()});
}

} // namespace quadrant::log
