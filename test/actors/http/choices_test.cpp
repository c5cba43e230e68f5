// Answers of several choices, completions, logprobs and tool calls, over real sockets.
#include <filesystem>
#include <fstream>

#include "config/hash.hpp"
#include "config/random.hpp"
#include "test/actors/http/served.hpp"

using namespace quadrant;
using namespace quadrant::test;
using actors::finish;
using nlohmann::json;

namespace {

const std::string completions = "/v1/completions";

std::vector<std::int32_t> ids(const std::string& words) {
  return text().tokens().encode(words, model::special_tokens::as_text);
}

/// The default model's words under a template that knows tools.
const actors::chat_text& text_with_tools() {
  static const auto opened = [] {
    const auto place = std::filesystem::temp_directory_path() / ("choices_test." + to_hex(random_u64()));
    std::filesystem::create_directory(place);
    std::filesystem::copy_file(QUADRANT_SOURCE_DIR "/model/default/tokenizer.json", place / "tokenizer.json");
    std::ofstream(place / "chat_template.jinja") << R"({% for t in tools or [] %}{{ t | tojson }}
{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.arguments | tojson }}</tool_call>{% endfor %}
{% endfor %})";
    auto made = actors::chat_text::open(place, config());
    std::filesystem::remove_all(place);
    REQUIRE(made);
    return std::move(made).value();
  }();
  return opened;
}

const std::string tools =
    R"("tools": [{"type": "function", "function": {"name": "weather", "parameters": {"z": 1, "a": 2}}}])";

} // namespace

TEST_CASE("the choices of one request stream side by side, and one that stops leaves the others alone") {
  served s;
  http_client client(s.port());
  client.post(chat, R"({"messages": [{"role": "user", "content": "hi"}], "n": 3, "stream": true, "stop": ["three"],
                        "stream_options": {"include_usage": true}, "seed": 5})");
  const auto asked = s.engine.next();
  CHECK(asked.what.samples == 3);
  CHECK(asked.what.sampling.seed == 5);
  asked.sink->prompt_read(2);
  const auto at = say(*asked.sink, "one", 0, 2);
  say(*asked.sink, "two three four", 0, 1);
  s.engine.wait_for_cancel(asked.id, 1);
  say(*asked.sink, " five", at, 2);
  asked.sink->finished(1, finish::cancelled); // what the engine says of a sample that was cancelled
  asked.sink->finished(2, finish::length);
  say(*asked.sink, "six", 0, 0);
  asked.sink->finished(0, finish::stop);
  const auto events = events_in(client.receive().body);
  std::vector<std::string> said(3), reasons(3);
  for (const auto& e : events)
    for (const auto& c : e["choices"]) {
      said[c["index"]] += c["delta"].value("content", "");
      if (!c["finish_reason"].is_null()) reasons[c["index"]] += c["finish_reason"].get<std::string>();
    }
  CHECK(said == std::vector<std::string>{"six", "two ", "one five"});
  CHECK(reasons == std::vector<std::string>{"stop", "stop", "length"});
  CHECK(events.back()["usage"]["prompt_tokens_details"]["cached_tokens"] == 2);
  CHECK(!s.engine.cancelled(asked.id));
}

TEST_CASE("a request whose samples fail is one error, and none goes on") {
  served s;
  http_client client(s.port());
  client.post(completions, R"({"prompt": ["a", "b"], "n": 2})");
  const auto first = s.engine.next(), second = s.engine.next();
  say(*first.sink, "one");
  second.sink->failed({errc::out_of_blocks, "the queue is full"});
  s.engine.wait_for_cancel(first.id);
  const auto answer = client.receive();
  CHECK(answer.status == 429);
  CHECK(answer.has("Retry-After: "));
}

TEST_CASE("a completion goes on with its prompt, and control tokens in it are themselves") {
  served s;
  http_client client(s.port());
  const std::string prompt = "<|im_start|>user\\nhi<|im_end|>";
  client.post(completions, R"({"model": "default", "prompt": ")" + prompt + R"(", "echo": true, "temperature": 0.5})");
  const auto asked = s.engine.next();
  CHECK(asked.what.tokens == text().tokens().encode("<|im_start|>user\nhi<|im_end|>", model::special_tokens::parse));
  CHECK(asked.what.max_new_tokens == 16);
  CHECK(asked.what.sampling.temperature == 0.5f);
  say(*asked.sink, " there");
  asked.sink->finished(0, finish::length);
  const auto body = json::parse(client.receive().body);
  CHECK(body["object"] == "text_completion");
  CHECK(body["id"].get<std::string>().starts_with("cmpl-"));
  CHECK(body["choices"][0]["text"] == "<|im_start|>user\nhi<|im_end|> there");
  CHECK(body["choices"][0]["finish_reason"] == "length");
  CHECK(body["usage"]["prompt_tokens"] == asked.what.tokens.size());
}

TEST_CASE("completions of several prompts stream with an index for each, and have no opening") {
  served s;
  http_client client(s.port());
  client.post(completions, R"({"prompt": [[5, 6], [7]], "stream": true, "max_tokens": 3})");
  const auto first = s.engine.next(), second = s.engine.next();
  CHECK(first.what.tokens == std::vector<std::int32_t>{5, 6});
  say(*second.sink, "two");
  say(*first.sink, "one");
  second.sink->finished(0, finish::stop);
  first.sink->finished(0, finish::length);
  std::vector<std::string> said(2);
  for (const auto& e : events_in(client.receive().body)) {
    CHECK(e["object"] == "text_completion");
    said[e["choices"][0]["index"]] += e["choices"][0]["text"].get<std::string>();
  }
  CHECK(said == std::vector<std::string>{"one", "two"});
}

TEST_CASE("a completion's ids and room are checked") {
  served s;
  CHECK(error_in(ask_at(s.port(), completions, R"({"prompt": [100000000]})"))["param"] == "prompt");
  CHECK(error_in(ask_at(s.port(), completions, R"({"prompt": ""})"))["param"] == "prompt");
  CHECK(error_in(ask_at(s.port(), completions, R"({"prompt": "a", "model": "b"})"))["code"] == "model_not_found");
  std::string many = "[1";
  const auto positions = std::size_t(config().max_position_embeddings);
  for (std::size_t i = 1; i < positions - 3; ++i) many += ",1";
  CHECK(error_in(ask_at(s.port(), completions, "{\"prompt\": " + many + "], \"max_tokens\": 4}"))["code"] ==
        "context_length_exceeded");
  http_client client(s.port());
  client.post(completions, "{\"prompt\": " + many + "]}"); // the default is what fits
  const auto asked = s.engine.next();
  CHECK(asked.what.max_new_tokens == 3);
  asked.sink->finished(0, finish::length);
  CHECK(client.receive().status == 200);
}

TEST_CASE("logprobs reach the client, and what is asked reaches the engine") {
  served s;
  http_client client(s.port());
  client.post(chat,
              R"({"messages": [{"role": "user", "content": "hi"}], "logprobs": true, "top_logprobs": 2, "stream": true,
    "presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.25, "logit_bias": {"9": -100}, "min_tokens": 1,
    "stop_token_ids": [9], "response_format": {"type": "json_object"}})");
  const auto asked = s.engine.next();
  CHECK(asked.what.top_logprobs == 2);
  CHECK(asked.what.sampling.presence == 0.5f);
  CHECK(asked.what.sampling.frequency == -0.5f);
  CHECK(asked.what.sampling.repetition == 1.25f);
  REQUIRE(asked.what.bias.size() == 1);
  CHECK(asked.what.bias[0].id == 9);
  CHECK(asked.what.min_new_tokens == 1);
  CHECK(asked.what.form == actors::answer_form::json_object);
  CHECK(std::ranges::count(asked.what.stop_tokens, 9) == 1);
  CHECK(asked.what.stop_tokens.size() == text().stop_tokens().size() + 1);
  const auto id = ids("violin").front();
  {
    const std::vector<gpu::token_logprob> top = {{id, -0.25f}, {5, -3.0f}}; // gone when the call returns
    asked.sink->token({.id = id, .logprob = -0.25f, .top = top});
  }
  asked.sink->finished(0, finish::length);
  const auto events = events_in(client.receive().body);
  REQUIRE(events.size() == 3);
  CHECK(events[0]["choices"][0]["logprobs"].is_null());
  const auto& entry = events[1]["choices"][0]["logprobs"]["content"][0];
  CHECK(entry["logprob"] == -0.25);
  CHECK(entry["token"] == events[1]["choices"][0]["delta"]["content"]);
  CHECK(entry["top_logprobs"].size() == 2);
  CHECK(entry["top_logprobs"][1]["logprob"] == -3.0);
}

TEST_CASE("tools go into the prompt in their own order, and calls come out of the answer") {
  served s({}, {}, text_with_tools());
  for (const bool stream : {false, true}) {
    http_client client(s.port());
    client.post(chat,
                R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "tool_calls":
      [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{\"y\": 1, \"b\": 2}"}}]},
      {"role": "tool", "tool_call_id": "c", "content": "rain"}], )" +
                    tools + R"(, "stream": )" + (stream ? "true}" : "false}"));
    const auto asked = s.engine.next();
    const auto prompt = text().tokens().decode(asked.what.tokens, false);
    CHECK(prompt.find(R"("parameters": {"z": 1, "a": 2})") != std::string::npos);
    CHECK(prompt.find(R"(<tool_call>{"y": 1, "b": 2}</tool_call>)") != std::string::npos);
    say(*asked.sink, "See: <tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"x\"}}\n</tool_call>");
    asked.sink->finished(0, finish::stop);
    const auto answer = client.receive();
    std::string content, arguments, name, id, reason;
    if (stream) {
      for (const auto& e : events_in(answer.body)) {
        const auto& c = e["choices"][0];
        content += c["delta"].value("content", "");
        for (const auto& call : c["delta"].value("tool_calls", json::array())) {
          CHECK(call["index"] == 0);
          if (call.contains("id")) {
            CHECK(call["type"] == "function");
            id += call["id"].get<std::string>();
            name += call["function"]["name"].get<std::string>();
          }
          arguments += call["function"]["arguments"].get<std::string>();
        }
        if (!c["finish_reason"].is_null()) reason = c["finish_reason"];
      }
    } else {
      const auto choice = json::parse(answer.body)["choices"][0];
      REQUIRE(choice["message"]["tool_calls"].size() == 1);
      const auto& call = choice["message"]["tool_calls"][0];
      CHECK(call["type"] == "function");
      content = choice["message"]["content"];
      id = call["id"], name = call["function"]["name"], arguments = call["function"]["arguments"];
      reason = choice["finish_reason"];
    }
    CHECK(content == "See: ");
    CHECK(name == "weather");
    CHECK(arguments == R"({"place": "x"})");
    CHECK(id.starts_with("call_"));
    CHECK(reason == "tool_calls");
  }
}

TEST_CASE("without tools, or where they are not to be called, the same words are text") {
  served s({}, {}, text_with_tools());
  const std::string call = R"(<tool_call>{"name": "weather", "arguments": {}}</tool_call>)";
  for (const auto& more : {std::string(), ", " + tools + R"(, "tool_choice": "none")"}) {
    http_client client(s.port());
    client.post(chat, R"({"messages": [{"role": "user", "content": "hi"}])" + more + "}");
    const auto asked = s.engine.next();
    CHECK(text().tokens().decode(asked.what.tokens, false).find("weather") == std::string::npos);
    say(*asked.sink, call);
    asked.sink->finished(0, finish::stop);
    const auto choice = json::parse(client.receive().body)["choices"][0];
    CHECK(choice["message"]["content"] == call);
    CHECK(choice["finish_reason"] == "stop");
  }
}

TEST_CASE("where calls are not to come together, the first one ends the answer") {
  served s({}, {}, text_with_tools());
  http_client client(s.port());
  client.post(chat,
              R"({"messages": [{"role": "user", "content": "hi"}], "parallel_tool_calls": false, )" + tools + "}");
  const auto asked = s.engine.next();
  const std::string call = R"(<tool_call>{"name": "weather", "arguments": {}}</tool_call>)";
  say(*asked.sink, call + "\n" + call);
  s.engine.wait_for_cancel(asked.id);
  const auto choice = json::parse(client.receive().body)["choices"][0];
  CHECK(choice["message"]["tool_calls"].size() == 1);
  CHECK(choice["message"]["content"].is_null());
  CHECK(choice["finish_reason"] == "tool_calls");
}
