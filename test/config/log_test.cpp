#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include <unistd.h>

#include <doctest/doctest.h>

#include "config/log.hpp"

using namespace quadrant;

namespace {

/// What `write` puts on stderr, under this format; without the time.
std::string logged(const char* format, const std::function<void()>& write) {
  setenv("QUADRANT_LOG_FORMAT", format, 1);
  log::start(log::level::info);
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int before = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  write();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  unsetenv("QUADRANT_LOG_FORMAT");
  log::start(log::level::warn);
  std::string text;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += char(c);
  std::fclose(file);
  const auto time = text.find("20"); // of the year
  return time == text.npos ? text : text.erase(time, std::string("2025-01-31T12:00:00.250").size());
}

} // namespace

TEST_CASE("an event and its fields are a line of text, or an object") {
  const auto write = [] {
    log::info("http", "request", {{"id", "a\"b\\c\n"}, {"status", 200}, {"bytes", std::uint64_t(1) << 40}});
  };
  CHECK(logged("text", write) == " info http: request id=\"a\\\"b\\\\c\\u000a\" status=200 bytes=1099511627776\n");
  CHECK(logged("json", write) ==
        "{\"time\":\"\",\"level\":\"info\",\"who\":\"http\",\"what\":\"request\",\"id\":\"a\\\"b\\\\c\\u000a\","
        "\"status\":200,\"bytes\":1099511627776}\n");
}

TEST_CASE("what is below the level is not written") {
  CHECK(logged("text", [] { log::debug("here", "nothing"); }).empty());
}
