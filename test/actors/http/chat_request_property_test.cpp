#include "actors/http/chat_request.hpp"
#include "actors/http/completion_request.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::http;
using nlohmann::json;

namespace {

const json good = json::parse(R"({"model": "m", "messages": [{"role": "system", "content": "s"},
  {"role": "user", "content": [{"type": "text", "text": "\u00e9"}]},
  {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
  {"role": "tool", "tool_call_id": "c", "content": "r"}], "max_tokens": 5, "temperature": 0.5, "top_p": 0.25, "top_k": 3,
  "min_p": 0.1, "seed": 42, "stop": ["x"], "n": 1, "stream": true,
  "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "auto",
  "logit_bias": {"1": -5}, "logprobs": true, "top_logprobs": 3, "response_format": {"type": "text"}, "presence_penalty": 1,
  "repetition_penalty": 1.1, "stop_token_ids": [5], "chat_template_kwargs": {"x": [1]}, "stream_options": {"include_usage": true}, "ignore_eos": false})");

rc::Gen<json> any_value() {
  return rc::gen::oneOf(rc::gen::just(json()), rc::gen::map(rc::gen::arbitrary<bool>(), [](bool b) { return json(b); }),
                        rc::gen::map(rc::gen::arbitrary<std::int64_t>(), [](std::int64_t i) { return json(i); }),
                        rc::gen::map(rc::gen::arbitrary<std::uint64_t>(), [](std::uint64_t i) { return json(i); }),
                        rc::gen::map(rc::gen::arbitrary<double>(), [](double d) { return json(d); }),
                        rc::gen::element(json::array(), json::object(), json(""), json("text"),
                                         json({{"type", "text"}}), json({1, 2, 3})));
}

/// Puts `value` in place of some part of `at`.
void replace_somewhere(json& at, const json& value) {
  if (!at.is_structured() || at.empty() || *rc::gen::inRange(0, 4) == 0) {
    at = value;
    return;
  }
  auto child = at.begin();
  std::advance(child, *rc::gen::inRange<int>(0, int(at.size())));
  replace_somewhere(*child, value);
}

void check_error(const api_error& error) {
  RC_ASSERT(error.status == 400);
  RC_ASSERT(!error.message.empty());
}
void check_bounds(const generation_fields& how) {
  RC_ASSERT(how.max_new_tokens >= 0 && how.min_new_tokens >= 0);
  RC_ASSERT(how.sampling.temperature >= 0 && how.sampling.temperature <= 2);
  RC_ASSERT(how.sampling.top_p > 0 && how.sampling.top_p <= 1);
  RC_ASSERT(how.sampling.min_p >= 0 && how.sampling.min_p <= 1);
  RC_ASSERT(how.sampling.top_k >= 0);
  RC_ASSERT(how.sampling.repetition > 0 && how.sampling.repetition <= 2);
  RC_ASSERT(how.n >= 1 && how.n <= max_choices);
  RC_ASSERT(how.top_logprobs >= -1 && how.top_logprobs <= actors::max_top_logprobs);
  RC_ASSERT(how.stop.size() <= 16);
  for (const auto& [id, bias] : how.bias) RC_ASSERT(id >= 0 && bias >= -100 && bias <= 100);
}
/// A request within its bounds, or a 4xx that says something.
void check_outcome(const std::variant<chat_request, api_error>& outcome) {
  if (const auto* error = std::get_if<api_error>(&outcome)) return check_error(*error);
  const auto& r = std::get<chat_request>(outcome);
  RC_ASSERT(!r.messages.empty());
  check_bounds(r.how);
  for (const auto& message : r.messages) {
    RC_ASSERT(message.at("role").is_string());
    RC_ASSERT(message.at("content").is_string() || message.contains("tool_calls"));
  }
}
void check_outcome(const std::variant<completion_request, api_error>& outcome) {
  if (const auto* error = std::get_if<api_error>(&outcome)) return check_error(*error);
  const auto& r = std::get<completion_request>(outcome);
  RC_ASSERT(!r.prompts.empty() && r.prompts.size() <= 16);
  RC_ASSERT(std::int32_t(r.prompts.size()) * r.how.n <= max_choices);
  check_bounds(r.how);
}

} // namespace

const json good_completion =
    json::parse(R"({"model": "m", "prompt": ["a", [1, 2]], "max_tokens": 5, "n": 2, "best_of": 2, "logprobs": 3,
  "echo": false, "suffix": "", "stop": "x", "logit_bias": {"1": -5}, "stream": true, "stream_options": {"include_usage": true}})");

TEST_CASE("parse_completion_request") {
  test::property(
      "of a body with any parts replaced makes a request or a 400",
      [] {
        auto body = good_completion;
        for (int n = *rc::gen::inRange(0, 4); n > 0; --n) replace_somewhere(body, *any_value());
        check_outcome(parse_completion_request(body.dump(), {}));
      },
      2000);
}

TEST_CASE("parse_chat_request") {
  test::property(
      "of a body with any parts replaced makes a request or a 400",
      [] {
        auto body = good;
        for (int n = *rc::gen::inRange(0, 4); n > 0; --n) replace_somewhere(body, *any_value());
        check_outcome(parse_chat_request(body.dump(), {}));
      },
      2000);

  test::property(
      "of a body with any bytes changed makes a request or a 400",
      [] {
        auto text = good.dump();
        for (int n = *rc::gen::inRange(1, 5); n > 0; --n) {
          const auto at = std::size_t(*rc::gen::inRange<int>(0, int(text.size())));
          switch (*rc::gen::inRange(0, 3)) {
          case 0: text[at] = char(*rc::gen::inRange(0, 256)); break;
          case 1: text.insert(at, 1, *rc::gen::elementOf(std::string("{}[]\",:\\0e-\xc3"))); break;
          default: text.resize(at + 1);
          }
        }
        check_outcome(parse_chat_request(text, {}));
      },
      2000);
}
