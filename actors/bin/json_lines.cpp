#include "actors/bin/json_lines.hpp"

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace quadrant::bin {
namespace {

constexpr std::size_t buffer_bytes = 1 << 20;

result<void> write(std::string& answers) {
  const auto written = std::fwrite(answers.data(), 1, answers.size(), stdout);
  if (written != answers.size() || std::fflush(stdout) != 0)
    return {errc::unavailable, "the answers could not be written to standard output"};
  answers.clear();
  return {};
}

result<void> answer_line(const line_answer& answer, std::string_view line, std::string& to) {
  const auto asked = nlohmann::ordered_json::parse(line, nullptr, false);
  if (asked.is_discarded()) return {errc::invalid_argument, "is no JSON"};
  QUADRANT_TRY_VOID(answer(asked, to));
  to += '\n';
  return {};
}

} // namespace

result<void> answer_lines(const line_answer& answer) {
  std::setvbuf(stdin, nullptr, _IOFBF, buffer_bytes);
  char* line = nullptr; // getline's own memory, which grows
  std::size_t capacity = 0;
  std::string answers;
  result<void> done;
  ssize_t size = 0;
  for (std::size_t number = 1; done && (size = getline(&line, &capacity, stdin)) >= 0; ++number) {
    const auto kept = answers.size();
    done = answer_line(answer, {line, std::size_t(size)}, answers);
    if (!done) {
      answers.resize(kept);
      done =
          failure{done.error().code, "line " + std::to_string(number) + " of standard input " + done.error().message};
    } else if (answers.size() >= buffer_bytes) {
      done = write(answers);
    }
  }
  std::free(line); // NOLINT(cppcoreguidelines-no-malloc)
  if (done && std::ferror(stdin) != 0) done = failure{errc::unavailable, "standard input cannot be read"};
  if (auto last = write(answers); done) done = std::move(last);
  return done;
}

void append_json(const std::string& text, std::string& to) {
  to += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace quadrant::bin
