#include <doctest/doctest.h>

#include "actors/http/chat_request.hpp"

using namespace quadrant;
using namespace quadrant::actors::http;

namespace {

const gpu::sampling defaults{
    .temperature = 0.7f, .top_p = 0.9f, .min_p = 0.01f, .top_k = 20, .seed = 0, .sample_index = 0};

/// A good body with more fields.
std::string body(const std::string& more) {
  return R"({"messages": [{"role": "user", "content": "hi"}])" + (more.empty() ? more : ", " + more) + "}";
}
chat_request accepted(const std::string& text) {
  auto parsed = parse_chat_request(text, defaults);
  if (const auto* error = std::get_if<api_error>(&parsed)) FAIL("refused: " << text << ": " << error->message);
  return std::get<chat_request>(std::move(parsed));
}
api_error refused(const std::string& text) {
  auto parsed = parse_chat_request(text, defaults);
  if (std::holds_alternative<chat_request>(parsed)) FAIL("accepted: " << text);
  return std::get<api_error>(std::move(parsed));
}

} // namespace

TEST_CASE("a request that says little gets the model's defaults") {
  const auto r = accepted(body(R"("temperature": null, "stop": null, "n": 1, "stream_options": null)"));
  CHECK(r.messages.dump() == R"([{"role":"user","content":"hi"}])");
  CHECK(r.sampling.temperature == 0.7f);
  CHECK(r.sampling.top_p == 0.9f);
  CHECK(r.sampling.min_p == 0.01f);
  CHECK(r.sampling.top_k == 20);
  CHECK(!r.has_seed);
  CHECK(r.max_new_tokens == 0);
  CHECK(r.model.empty());
  CHECK(r.stop.empty());
  CHECK(!r.stream);
  CHECK(!r.ignore_eos);
  CHECK(r.ignored.empty());
}

TEST_CASE("every field arrives") {
  const auto r = accepted(R"({"model": "default", "messages": [{"role": "system", "content": "be short"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "c"}],
    "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.25, "min_p": 0.125, "top_k": 3, "seed": 42,
    "stop": ["x", "y"], "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true})");
  CHECK(r.model == "default");
  CHECK(r.messages[1].dump() == "{\"role\":\"user\",\"content\":\"a\\nb\"}");
  CHECK(r.messages.size() == 3);
  CHECK(r.max_new_tokens == 7); // the newer name rules
  CHECK(r.sampling.temperature == 0.5f);
  CHECK(r.sampling.top_p == 0.25f);
  CHECK(r.sampling.min_p == 0.125f);
  CHECK(r.sampling.top_k == 3);
  CHECK(r.has_seed);
  CHECK(r.sampling.seed == 42);
  CHECK(r.stop == std::vector<std::string>{"x", "y"});
  CHECK(r.stream);
  CHECK(r.include_usage);
  CHECK(r.ignore_eos);
}

TEST_CASE("edges of the ranges are inside") {
  CHECK(accepted(body(R"("temperature": 0)")).sampling.temperature == 0);
  CHECK(accepted(body(R"("temperature": 2)")).sampling.temperature == 2);
  CHECK(accepted(body(R"("temperature": 1e-30)")).sampling.temperature == 0);
  CHECK(accepted(body(R"("top_p": 1)")).sampling.top_p == 1);
  CHECK(accepted(body(R"("top_k": -1)")).sampling.top_k == 0);
  CHECK(accepted(body(R"("max_tokens": 2147483647)")).max_new_tokens == 2147483647);
  CHECK(accepted(body(R"("seed": 18446744073709551615)")).sampling.seed == ~std::uint64_t(0));
  CHECK(accepted(body(R"("seed": -1)")).sampling.seed == ~std::uint64_t(0));
  CHECK(accepted(body(R"("stop": "only")")).stop == std::vector<std::string>{"only"});
  CHECK(accepted(body(R"("stop": ["1", "2", "3", "4"])")).stop.size() == 4);
}

TEST_CASE("what is out of range is refused by the name of its field") {
  const std::pair<const char*, const char*> wrong[] = {{"temperature", "-0.1"},
                                                       {"temperature", "2.1"},
                                                       {"temperature", "\"hot\""},
                                                       {"top_p", "0"},
                                                       {"top_p", "1.5"},
                                                       {"min_p", "-1"},
                                                       {"min_p", "1.01"},
                                                       {"top_k", "-2"},
                                                       {"top_k", "1.5"},
                                                       {"top_k", "3000000000"},
                                                       {"seed", "1.5"},
                                                       {"seed", "\"1\""},
                                                       {"max_tokens", "0"},
                                                       {"max_tokens", "-5"},
                                                       {"max_tokens", "18446744073709551615"},
                                                       {"max_tokens", "1.0"},
                                                       {"max_completion_tokens", "2147483648"},
                                                       {"n", "2"},
                                                       {"n", "0"},
                                                       {"n", "\"1\""},
                                                       {"stop", "\"\""},
                                                       {"stop", "[1]"},
                                                       {"stop", "[\"a\", \"\"]"},
                                                       {"stop", "[\"1\",\"2\",\"3\",\"4\",\"5\"]"},
                                                       {"stream", "1"},
                                                       {"stream", "\"true\""},
                                                       {"ignore_eos", "0"},
                                                       {"model", "7"},
                                                       {"model", "\"\""},
                                                       {"stream_options", "[]"}};
  for (const auto& [field, value] : wrong) {
    CAPTURE(field);
    CAPTURE(value);
    const auto error = refused(body(std::string("\"") + field + "\": " + value));
    CHECK(error.status == 400);
    CHECK(error.type == "invalid_request_error");
    CHECK(error.param == field);
    CHECK(error.message.find(field) == 0);
  }
  CHECK(refused(body(R"("stream_options": {"include_usage": true})")).param == "stream_options");
  CHECK(refused(body(R"("stream": true, "stream_options": {"include_usage": 1})")).param ==
        "stream_options.include_usage");
  CHECK(refused(body(R"("temperature": 3.5)")).message == "temperature must be a number from 0.0 to 2.0, not 3.5");
}

TEST_CASE("messages that are none are refused by their place") {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": "hi"})", "messages"},
      {R"({"messages": [3]})", "messages[0]"},
      {R"({"messages": [{"content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "tool", "content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user", "content": "x"}, {"role": ["user"], "content": "x"}]})", "messages[1].role"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": null}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": []}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": ["x"]}]})", "messages[0].content[0]"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages[0].content[0].type"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]})", "messages[0].content[0].text"}};
  for (const auto& [text, param] : wrong) {
    CAPTURE(text);
    const auto error = refused(text);
    CHECK(error.status == 400);
    CHECK(error.param == param);
  }
}

TEST_CASE("what is no JSON object is refused") {
  for (const std::string text :
       {"", "{", "null", "[]", "\"messages\"", "{\"messages\": [}", "{'messages': 1}", "{\"a\": 1e999}", "{\"a\": nan}",
        "{\"a\": \"\xff\"}", "{\"a\": \"\\ud800\"}", "{\"a\": \"\xc0\xaf\"}", "{} {}"}) {
    CAPTURE(text);
    CHECK(refused(text).status == 400);
  }
  CHECK(refused(std::string(500'000, '[')).message == "the body is nested deeper than 64 levels");
  CHECK(refused("{\"a\": \"" + std::string(500'000, '[') + "\"}").param == "messages"); // not nested: a string
}

TEST_CASE("other fields are ignored, and only names of the API come through") {
  const auto r = accepted(body(R"("logprobs": true, "my secret": 1, "another secret": 2, "tools": null)"));
  CHECK(r.ignored == std::vector<std::string_view>{"", "logprobs"});
}
