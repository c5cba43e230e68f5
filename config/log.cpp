#include "config/log.hpp"

#include <cstdlib>
#include <map>
#include <string>

#include "config/progress.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace quadrant::log {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_logger_mt("quadrant");
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    made->set_level(spdlog::level::warn);
    return made;
  }();
  return *instance;
}

void write(spdlog::level::level_enum level, std::string_view who, std::string_view what) {
  if (logger().should_log(level)) progress::clear();
  logger().log(level, "{}: {}", who, what);
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

} // namespace quadrant::log
