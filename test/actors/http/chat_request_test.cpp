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
  CHECK(r.how.sampling.temperature == 0.7f);
  CHECK(r.how.sampling.top_p == 0.9f);
  CHECK(r.how.sampling.min_p == 0.01f);
  CHECK(r.how.sampling.top_k == 20);
  CHECK(!r.how.has_seed);
  CHECK(r.how.max_new_tokens == 0);
  CHECK(r.how.model.empty());
  CHECK(r.how.stop.empty());
  CHECK(!r.how.stream);
  CHECK(!r.how.ignore_eos);
  CHECK(r.ignored.empty());
}

TEST_CASE("every field arrives") {
  const auto r = accepted(R"({"model": "default", "messages": [{"role": "system", "content": "be short"},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "c"}],
    "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.25, "min_p": 0.125, "top_k": 3, "seed": 42,
    "stop": ["x", "y"], "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true})");
  CHECK(r.how.model == "default");
  CHECK(r.messages[1].dump() == "{\"role\":\"user\",\"content\":\"a\\nb\"}");
  CHECK(r.messages.size() == 3);
  CHECK(r.how.max_new_tokens == 7); // the newer name rules
  CHECK(r.how.sampling.temperature == 0.5f);
  CHECK(r.how.sampling.top_p == 0.25f);
  CHECK(r.how.sampling.min_p == 0.125f);
  CHECK(r.how.sampling.top_k == 3);
  CHECK(r.how.has_seed);
  CHECK(r.how.sampling.seed == 42);
  CHECK(r.how.stop == std::vector<std::string>{"x", "y"});
  CHECK(r.how.stream);
  CHECK(r.how.include_usage);
  CHECK(r.how.ignore_eos);
}

TEST_CASE("edges of the ranges are inside") {
  CHECK(accepted(body(R"("temperature": 0)")).how.sampling.temperature == 0);
  CHECK(accepted(body(R"("temperature": 2)")).how.sampling.temperature == 2);
  CHECK(accepted(body(R"("temperature": 1e-30)")).how.sampling.temperature == 0);
  CHECK(accepted(body(R"("top_p": 1)")).how.sampling.top_p == 1);
  CHECK(accepted(body(R"("top_k": -1)")).how.sampling.top_k == 0);
  CHECK(accepted(body(R"("max_tokens": 2147483647)")).how.max_new_tokens == 2147483647);
  CHECK(accepted(body(R"("seed": 18446744073709551615)")).how.sampling.seed == ~std::uint64_t(0));
  CHECK(accepted(body(R"("seed": -1)")).how.sampling.seed == ~std::uint64_t(0));
  CHECK(accepted(body(R"("stop": "only")")).how.stop == std::vector<std::string>{"only"});
  CHECK(accepted(body(R"("stop": ["1", "2", "3", "4"])")).how.stop.size() == 4);
}

TEST_CASE("what is out of range is refused by the name of its field") {
  const std::pair<const char*, const char*> wrong[] = {
      {"temperature", "-0.1"},
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
      {"n", "129"},
      {"n", "0"},
      {"n", "\"1\""},
      {"stop", "\"\""},
      {"stop", "[1]"},
      {"stop", "[\"a\", \"\"]"},
      {"stop",
       "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]"},
      {"stop_token_ids", "7"},
      {"stop_token_ids", "[-1]"},
      {"stop_token_ids", "[1.5]"},
      {"min_tokens", "-1"},
      {"presence_penalty", "2.5"},
      {"frequency_penalty", "-2.5"},
      {"repetition_penalty", "0"},
      {"repetition_penalty", "2.5"},
      {"logit_bias", "[]"},
      {"logit_bias", "{\"x\": 1}"},
      {"logit_bias", "{\"-1\": 1}"},
      {"logit_bias", "{\"1\": 101}"},
      {"logit_bias", "{\"1\": null}"},
      {"logit_bias", "{\"1\": 1, \"01\": 2}"},
      {"logprobs", "1"},
      {"top_logprobs", "2"},
      {"top_logprobs", "21"},
      {"response_format", "\"text\""},
      {"tools", "{}"},
      {"tool_choice", "\"required\""},
      {"tool_choice", "{\"type\": \"function\"}"},
      {"parallel_tool_calls", "1"},
      {"chat_template_kwargs", "[]"},
      {"reasoning_effort", "3"},
      {"continue_final_message", "true"},
      {"include_stop_str_in_output", "1"},
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
  CHECK(refused(body(R"("response_format": {"type": "json_schema"})")).param == "response_format.type");
  CHECK(refused(body(R"("response_format": {})")).param == "response_format.type");
  CHECK(refused(body(R"("temperature": 3.5)")).message == "temperature must be a number from 0.0 to 2.0, not 3.5");
}

TEST_CASE("messages that are none are refused by their place") {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": "hi"})", "messages"},
      {R"({"messages": [3]})", "messages[0]"},
      {R"({"messages": [{"content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "function", "content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "tool"}]})", "messages[0].content"},
      {R"({"messages": [{"role": "tool", "content": "x", "tool_call_id": 1}]})", "messages[0].tool_call_id"},
      {R"({"messages": [{"role": "assistant", "content": null}]})", "messages[0].content"},
      {R"({"messages": [{"role": "assistant", "tool_calls": {}}]})", "messages[0].tool_calls"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [1]}]})", "messages[0].tool_calls[0]"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]})", "messages[0].tool_calls[0].function"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]})",
       "messages[0].tool_calls[0].function.arguments"},
      {R"({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]})",
       "messages[0].tool_calls[0].function.arguments"},
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

TEST_CASE("tools, their calls and what came of them arrive as a template takes them") {
  const auto r =
      accepted(R"({"messages": [{"role": "developer", "content": "d", "name": "dev"}, {"role": "user", "content": "q"},
    {"role": "assistant", "content": null, "reasoning_content": "hm", "refusal": null, "tool_calls": [
      {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}},
      {"function": {"name": "g", "arguments": ""}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "r"}]},
    {"role": "assistant", "content": null, "refusal": "no"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 2}}}],
    "chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "low", "parallel_tool_calls": false})");
  CHECK(r.messages.dump() ==
        R"([{"role":"developer","content":"d","name":"dev"},{"role":"user","content":"q"},)"
        R"({"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[)"
        R"({"type":"function","function":{"name":"f","arguments":"{\"b\": 1, \"a\": 2}"},"id":"call_1"},)"
        R"({"type":"function","function":{"name":"g","arguments":""}}]},)"
        R"({"role":"tool","content":"r","tool_call_id":"call_1"},{"role":"assistant","content":""}])");
  CHECK(r.tools.dump() == R"([{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}])"); // in order
  CHECK(r.variables.dump() == R"({"enable_thinking":false,"reasoning_effort":"low"})");
  CHECK(!r.parallel_calls);
  CHECK(r.ignored.empty());
}

TEST_CASE("tools that are not to be called are not shown") {
  const std::string tools = R"("tools": [{"type": "function", "function": {"name": "f"}}])";
  CHECK(accepted(body(tools + R"(, "tool_choice": "none")")).tools.is_null());
  CHECK(accepted(body(tools + R"(, "tool_choice": "auto")")).tools.size() == 1);
  CHECK(accepted(body(R"("tools": [])")).tools.is_null());
  CHECK(refused(body(R"("tools": [{"type": "function", "function": {}}])")).param == "tools[0].function");
  CHECK(refused(body(R"("tools": [{"type": "web_search"}])")).param == "tools[0].type");
}

TEST_CASE("penalties, biases, logprobs and choices arrive") {
  const auto r = accepted(body(R"("presence_penalty": -2, "frequency_penalty": 2, "repetition_penalty": 1.5, "n": 3,
    "logit_bias": {"7": -100, "3": 1.5}, "logprobs": true, "top_logprobs": 5, "min_tokens": 2, "stop_token_ids": [4, 5],
    "include_stop_str_in_output": true, "response_format": {"type": "json_object"}, "stream": true,
    "stream_options": {"continuous_usage_stats": true})"));
  CHECK(r.how.sampling.presence == -2);
  CHECK(r.how.sampling.frequency == 2);
  CHECK(r.how.sampling.repetition == 1.5f);
  REQUIRE(r.how.bias.size() == 2);
  CHECK(r.how.bias[0].id == 3);
  CHECK(r.how.bias[0].bias == 1.5f);
  CHECK(r.how.bias[1].bias == -100);
  CHECK(r.how.n == 3);
  CHECK(r.how.top_logprobs == 5);
  CHECK(r.how.min_new_tokens == 2);
  CHECK(r.how.stop_tokens == std::vector<std::int32_t>{4, 5});
  CHECK(r.how.include_stop);
  CHECK(r.how.form == actors::answer_form::json_object);
  CHECK(r.how.continuous_usage);
  CHECK(accepted(body(R"("logprobs": true)")).how.top_logprobs == 0);
  CHECK(accepted(body(R"("logprobs": false)")).how.top_logprobs == -1);
  CHECK(accepted(body(R"("response_format": {"type": "text"})")).how.form == actors::answer_form::text);
}

TEST_CASE("an object with more members than any request has is refused, before it is read") {
  std::string many = "{";
  for (int i = 0; i < 2049; ++i) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":1";
  CHECK(refused(body("\"metadata\": " + many + "}")).message == "the body holds an object of more than 2048 members");
}

TEST_CASE("other fields are ignored, and only names of the API come through") {
  const auto r = accepted(body(R"("user": "me", "my secret": 1, "another secret": 2, "tools": null)"));
  CHECK(r.ignored == std::vector<std::string_view>{"user", ""});
}
