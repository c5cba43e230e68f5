#include <doctest/doctest.h>

#include "actors/loadgen/answer_meter.hpp"

using namespace quadrant::actors::loadgen;

namespace {

constexpr std::int64_t ms = 1'000'000;

/// An answer as pieces and the ms at which they come.
request_record measured(const std::string& head, const std::vector<std::pair<std::string, int>>& pieces,
                        const exchange& how = {}, int ended_ms = 100) {
  response_reader reader;
  reader.feed("HTTP/1.1 " + head + "\r\n\r\n");
  REQUIRE(reader.head_done());
  request_record r;
  answer_meter meter(r);
  for (const auto& [piece, at] : pieces) meter.take(reader, piece, at * ms);
  meter.finish(how, ended_ms * ms);
  return r;
}

const std::string stream = "200 OK\r\nContent-Type: text/event-stream";
const std::string role = "data: {\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}\n\n";
const std::string text = "data: {\"choices\": [{\"delta\": {\"content\": \"x\"}}], \"usage\": null}\n\n";
const std::string ended = "data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}\n\n";
const std::string usage = "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 9, \"completion_tokens\": 5}}\n\n";
const std::string done = "data: [DONE]\n\n";

} // namespace

TEST_CASE("times and tokens of a stream") {
  const auto r = measured(stream, {{role, 5}, {text, 10}, {text, 14}, {text + ended, 20}, {usage + done, 30}});
  CHECK(r.completed());
  CHECK(r.ttft_ms() == 10); // the role is no token
  CHECK(r.e2e_ms() == 30);  // [DONE], not when the connection was free again
  CHECK(r.gaps_ms == std::vector<float>{4, 6});
  CHECK(r.prompt_tokens == 9);
  CHECK(r.tokens() == 5);
  CHECK(r.tpot_ms() == 5); // (30 - 10) / (5 - 1)
  CHECK(r.kind() == "completed");
}

TEST_CASE("without usage the pieces are the tokens; without [DONE] a reason is an end") {
  const auto r = measured(stream, {{text, 10}, {text, 30}, {ended, 31}});
  CHECK(r.completed());
  CHECK(r.tokens() == 2);
  CHECK(r.e2e_ms() == 100);
  CHECK(r.tpot_ms() == 90);
}

TEST_CASE("completions, reasoning and tool calls are text too; an answer of nothing has its first token at its end") {
  for (const auto* piece :
       {R"({"choices": [{"text": "x"}]})", R"({"choices": [{"delta": {"reasoning_content": "x"}}]})",
        R"({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]})"})
    CHECK(measured(stream, {{"data: " + std::string(piece) + "\n\n", 7}, {ended + done, 9}}).ttft_ms() == 7);
  const auto r = measured(stream, {{role, 5}, {ended + usage + done, 9}});
  CHECK(r.completed());
  CHECK(r.ttft_ms() == 9);
  CHECK(r.gaps_ms.empty());
}

TEST_CASE("failures by kind, each with the server's words") {
  const auto refused = measured("429 Too Many\r\nContent-Type: application/json\r\nRetry-After: 7",
                                {{R"({"error": {"message": "the queue)", 1}, {R"( is full"}})", 2}});
  CHECK(refused.result == outcome::rejected);
  CHECK(refused.message == "the queue is full (retry after 7)");
  const auto fault = measured("500 Oops", {{"<html>\nno\x01 JSON</html>", 1}});
  CHECK(fault.kind() == "http 500");
  CHECK(fault.message == "<html> no  JSON</html>");
  CHECK(measured(stream, {{text, 1}, {"data: {\"error\": {\"message\": \"gone\"}}\n\n", 2}}).kind() ==
        "error in the stream");
  CHECK(measured(stream, {{text, 1}, {"data: {\"error\": \"gone\"}\n\n", 2}}).message == "gone");
  for (const auto* junk : {"{", "7", "[]", "{\"choices\": 1}", "{}"})
    CHECK(measured(stream, {{text, 1}, {"data: " + std::string(junk) + "\n\n" + done, 2}}).result == outcome::broken);
  CHECK(measured(stream, {{text, 1}}).message == "the stream ended before the answer did");
  CHECK(measured("200 OK\r\nContent-Type: application/json", {{R"({"choices": []})", 1}}).message ==
        "the answer is no stream of events but application/json");
}

TEST_CASE("a connection that is lost after [DONE] costs nothing, before it the answer") {
  const exchange lost{exchange_end::broken, "reset"}, late{exchange_end::timeout, "late"};
  CHECK(measured(stream, {{text + ended + done, 4}}, lost).completed());
  CHECK(measured(stream, {{text + ended, 4}}, lost).message == "reset");
  CHECK(measured(stream, {{text, 4}}, late).result == outcome::timeout);
  CHECK(measured(stream, {{text, 4}}, {exchange_end::cancelled, {}}).result == outcome::cancelled);
  CHECK(!measured(stream, {{text, 4}}, {exchange_end::cancelled, {}}).failed());
}
