#include <algorithm>
#include <sstream>

#include "actors/loadgen/trace.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

TEST_CASE("read_trace") {
  test::property(
      "whatever bytes a trace holds, it is rows in order or one line that names a line",
      [] {
        std::string text = *rc::gen::element(
            std::string("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 "
                        "18:17:04,1,2\n"),
            std::string("{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 5, \"hash_ids\": [0, 1]}\n"
                        "{\"timestamp\": 1e3, \"input_length\": 1, \"output_length\": 2}\n"));
        for (auto n = *rc::gen::inRange(0, 6); n > 0; --n) {
          const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
          switch (*rc::gen::inRange(0, 3)) {
          case 0: text[at] = *rc::gen::arbitrary<char>(); break;
          case 1: text.erase(at, *rc::gen::inRange<std::size_t>(1, 9)); break;
          default: text.insert(at, *rc::gen::element<std::string>("{", "9", "-", "\n", ",", "1e999", "\xff", "[[[["));
          }
          if (text.empty()) text = "x";
        }
        std::istringstream in(text);
        const auto rows = read_trace(in, "t", 100);
        if (rows) {
          RC_ASSERT(!rows->empty() && rows->front().at_ns == 0);
          RC_ASSERT(std::ranges::is_sorted(*rows, {}, &trace_row::at_ns));
          for (const auto& r : *rows) RC_ASSERT(r.input_tokens >= 1 && r.output_tokens >= 1);
        } else {
          RC_ASSERT(rows.error().message.starts_with("t:") || rows.error().message == "t holds no requests");
          RC_ASSERT(rows.error().message.find('\n') == std::string::npos);
        }
      },
      400);
}
