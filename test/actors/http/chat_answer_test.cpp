#include <algorithm>

#include <nlohmann/json.hpp>

#include "actors/chat_text.hpp"
#include "actors/http/chat_answer.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;
using namespace quadrant::actors::http;
using nlohmann::json;

namespace {

const chat_text& text() {
  static const auto opened = [] {
    const std::filesystem::path model = QUADRANT_SOURCE_DIR "/model/default";
    auto config = model::read_model_config(model);
    REQUIRE(config);
    auto made = chat_text::open(model, *config);
    REQUIRE(made);
    return std::move(made).value();
  }();
  return opened;
}

std::vector<std::int32_t> ids(const std::string& words) {
  return text().tokens().encode(words, model::special_tokens::as_text);
}

chat_answer::settings settings(bool stream) {
  return {.about = {"chatcmpl-1", "default", 1700000000},
          .prompt_tokens = 11,
          .stream = stream,
          .include_usage = false,
          .stop = {},
          .stop_tokens = text().stop_tokens()};
}

std::string run(chat_answer& answer, const std::vector<std::int32_t>& tokens, finish why) {
  std::string bytes;
  for (const auto id : tokens) {
    bytes += answer.token(id);
    if (answer.over()) return bytes;
  }
  return bytes + answer.finished(why);
}

/// The events of a stream, which must be whole; [DONE] is the last and is left out.
std::vector<json> events_of(std::string_view bytes) {
  std::vector<json> events;
  while (!bytes.empty()) {
    RC_ASSERT(bytes.starts_with("data: "));
    const auto end = bytes.find("\n\n");
    RC_ASSERT(end != bytes.npos);
    const auto data = bytes.substr(6, end - 6);
    bytes.remove_prefix(end + 2);
    RC_ASSERT((data == "[DONE]") == bytes.empty());
    if (!bytes.empty()) events.push_back(json::parse(data));
  }
  return events;
}

} // namespace

TEST_CASE("a whole answer has the form of the API") {
  chat_answer answer(settings(false), text().decoder());
  auto tokens = ids("a \"violin\"\n");
  const auto count = tokens.size();
  tokens.push_back(text().stop_tokens().front());
  const auto body = json::parse(run(answer, tokens, finish::stop));
  CHECK(body ==
        json::parse(R"({"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "default",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a \"violin\"\n"}, "logprobs": null, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": )" +
                    std::to_string(count + 1) + R"(, "total_tokens": )" + std::to_string(count + 12) + "}}"));
}

TEST_CASE("an answer that ends at its first token is empty, and still whole") {
  for (const bool stream : {false, true}) {
    chat_answer answer(settings(stream), text().decoder());
    const auto bytes = run(answer, {text().stop_tokens().front()}, finish::stop);
    if (!stream) {
      CHECK(json::parse(bytes)["choices"][0]["message"]["content"] == "");
      continue;
    }
    const auto events = events_of(bytes);
    REQUIRE(events.size() == 2);
    CHECK(events[0]["choices"][0]["delta"] == json({{"role", "assistant"}, {"content", ""}}));
    CHECK(events[1]["choices"][0]["delta"] == json::object());
    CHECK(events[1]["choices"][0]["finish_reason"] == "stop");
  }
}

TEST_CASE("a stop string ends the answer before it, and says so at once") {
  auto how = settings(false);
  how.stop = {" music"};
  chat_answer answer(how, text().decoder());
  const auto body = json::parse(run(answer, ids("a kind of music that is old"), finish::length));
  CHECK(answer.over());
  CHECK(body["choices"][0]["message"]["content"] == "a kind of");
  CHECK(body["choices"][0]["finish_reason"] == "stop");
  CHECK(body["usage"]["completion_tokens"] < ids("a kind of music that is old").size());
  CHECK(answer.token(1).empty());
  CHECK(answer.finished(finish::length).empty());
}

TEST_CASE("an error within a stream is an event") {
  chat_answer answer(settings(true), text().decoder());
  answer.token(ids("a").front());
  CHECK(answer.broken({503, "a worker was lost", "server_error", {}, "service_unavailable"}) ==
        "data: {\"error\":{\"message\":\"a worker was "
        "lost\",\"type\":\"server_error\",\"param\":null,\"code\":\"service_unavailable\"}}\n\n");
}

TEST_CASE("chat_answer") {
  test::property("streams what it would answer whole, in the grammar of the API, for any tokens", [] {
    const auto size = text().tokens().vocab_size();
    const auto tokens = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, size));
    const auto why = *rc::gen::element(finish::stop, finish::length);
    auto how = settings(true);
    how.include_usage = *rc::gen::arbitrary<bool>();
    how.stop = *rc::gen::element(std::vector<std::string>{}, std::vector<std::string>{"e", "in"},
                                 std::vector<std::string>{"\xef\xbf\xbd"});

    chat_answer streamed(how, text().decoder());
    const auto events = events_of(run(streamed, tokens, why));
    how.stream = false;
    chat_answer whole(how, text().decoder());
    const auto body = json::parse(run(whole, tokens, why));

    std::string said;
    const auto closing = events.size() - 1 - (how.include_usage ? 1 : 0);
    RC_ASSERT(events.at(0)["choices"][0]["delta"]["role"] == "assistant");
    for (std::size_t i = 0; i <= closing; ++i) {
      const auto& choice = events.at(i)["choices"][0];
      RC_ASSERT(events.at(i)["object"] == "chat.completion.chunk");
      RC_ASSERT(events.at(i)["id"] == "chatcmpl-1");
      RC_ASSERT(choice["finish_reason"].is_null() == (i != closing));
      RC_ASSERT(events.at(i).contains("usage") == how.include_usage);
      if (i == closing)
        RC_ASSERT(choice["delta"].empty());
      else
        said += choice["delta"]["content"].get<std::string>();
      if (i != 0 && i != closing) RC_ASSERT(!choice["delta"]["content"].get<std::string>().empty());
    }
    RC_ASSERT(said == body["choices"][0]["message"]["content"].get<std::string>());
    RC_ASSERT(events.at(closing)["choices"][0]["finish_reason"] == body["choices"][0]["finish_reason"]);
    if (how.include_usage) {
      RC_ASSERT(events.back()["choices"].empty());
      RC_ASSERT(events.back()["usage"] == body["usage"]);
    }
    if (how.stop.empty()) {
      auto spoken = tokens;
      std::erase_if(spoken, [&](auto id) { return std::ranges::find(how.stop_tokens, id) != how.stop_tokens.end(); });
      RC_ASSERT(said == text().tokens().decode(spoken, true));
    }
  });
}
