// What a load generator reads of others: traces, and the answers of servers. A libFuzzer target; `corpus/` is run by the
// tests too, by replay_test.cpp.
//
//   input   t and a trace; or a, how many bytes a read brings (0: all), and an HTTP response
// Holds   a trace is rows in order or one line; the answer does not depend on how its bytes were cut
#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>

#include "actors/loadgen/answer_meter.hpp"
#include "actors/loadgen/trace.hpp"
#include "config/check.hpp"

namespace quadrant::actors::loadgen {
namespace {

void read_a_trace(std::string_view text) {
  std::istringstream in{std::string(text)};
  const auto rows = read_trace(in, "t", 1000);
  if (!rows) {
    QCHECK(rows.error().message.find('\n') == std::string::npos);
    return;
  }
  QCHECK(std::ranges::is_sorted(*rows, {}, &trace_row::at_ns));
  QCHECK(rows->front().at_ns == 0);
}

request_record read_an_answer(std::string_view bytes, std::size_t most) {
  request_record r;
  answer_meter meter(r);
  response_reader reader;
  exchange how;
  std::string unread;
  while (!bytes.empty() && !reader.done() && !reader.problem()) {
    const auto some = bytes.substr(0, most == 0 ? bytes.size() : most);
    bytes.remove_prefix(some.size());
    unread += some;
    unread.erase(0, reader.feed(unread));
    if (bytes.empty()) reader.end_of_bytes();
    if (reader.head_done()) meter.take(reader, reader.take_body(), 1);
  }
  if (!reader.done()) how = {exchange_end::broken, "cut off"};
  meter.finish(how, 2);
  return r;
}

} // namespace
} // namespace quadrant::actors::loadgen

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quadrant::actors::loadgen;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with('t')) read_a_trace(input.substr(1));
  if (!input.starts_with('a') || size < 2) return 0;
  const auto whole = read_an_answer(input.substr(2), 0), cut = read_an_answer(input.substr(2), std::size_t(data[1]));
  QCHECK(whole.chunks() == cut.chunks() && whole.tokens() == cut.tokens() && whole.status == cut.status);
  QCHECK(whole.completed() == cut.completed());
  return 0;
}
