#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "actors/chat_text.hpp"
#include "actors/http/answer.hpp"
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

answer::settings settings(bool stream) {
  return {.about = {"chatcmpl-1", "default", 1700000000},
          .prompt_tokens = 11,
          .stream = stream,
          .each = {.stop_tokens = text().stop_tokens()}};
}

/// Says the tokens of one choice.
std::string run(answer& to, const std::vector<std::int32_t>& tokens, finish why, std::int32_t prompt = 0,
                std::int32_t sample = 0) {
  std::string bytes;
  for (const auto id : tokens) {
    bytes += to.token(prompt, {.sample = sample, .id = id});
    if (to.choice_over(prompt, sample)) return bytes;
  }
  return bytes + to.finished(prompt, sample, why);
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
  answer made(settings(false), text());
  auto tokens = ids("a \"violin\"\n");
  const auto count = tokens.size();
  tokens.push_back(text().stop_tokens().front());
  const auto body = json::parse(run(made, tokens, finish::stop));
  CHECK(body ==
        json::parse(R"({"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "default",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a \"violin\"\n", "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": )" +
                    std::to_string(count + 1) + R"(, "total_tokens": )" + std::to_string(count + 12) +
                    R"(, "prompt_tokens_details": {"cached_tokens": 0}}})"));
}

TEST_CASE("an answer that ends at its first token is empty, and still whole") {
  for (const bool stream : {false, true}) {
    answer made(settings(stream), text());
    const auto bytes = run(made, {text().stop_tokens().front()}, finish::stop);
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
  how.each.stop = {" music"};
  answer made(how, text());
  const auto body = json::parse(run(made, ids("a kind of music that is old"), finish::length));
  CHECK(made.over());
  CHECK(body["choices"][0]["message"]["content"] == "a kind of");
  CHECK(body["choices"][0]["finish_reason"] == "stop");
  CHECK(body["usage"]["completion_tokens"] < ids("a kind of music that is old").size());
  CHECK(made.token(0, {.id = 1}).empty());
  CHECK(made.finished(0, 0, finish::length).empty());
}

TEST_CASE("an error within a stream is an event") {
  answer made(settings(true), text());
  made.token(0, {.id = ids("a").front()});
  CHECK(answer::broken({503, "a worker was lost", "server_error", {}, "service_unavailable"}) ==
        "data: {\"error\":{\"message\":\"a worker was "
        "lost\",\"type\":\"server_error\",\"param\":null,\"code\":\"service_unavailable\"}}\n\n");
}

TEST_CASE("choices are told apart, and end each for itself") {
  auto how = settings(false);
  how.samples = 2;
  how.prompts = 2;
  how.form = &completion_reply();
  how.echo = {"P: ", "Q: "};
  how.each.stop = {" music"};
  answer made(how, text());
  made.prompt_read(3);
  made.prompt_read(4);
  CHECK(run(made, ids("a kind of music"), finish::length, 1, 1).empty());
  CHECK(made.choice_over(1, 1));
  CHECK(!made.prompt_over(1));
  CHECK(run(made, ids("one"), finish::length, 1, 0).empty());
  CHECK(made.prompt_over(1));
  CHECK(run(made, ids("two"), finish::stop, 0, 0).empty());
  const auto body = json::parse(run(made, ids("three"), finish::stop, 0, 1));
  CHECK(made.over());
  CHECK(made.finish_reason() == "length");
  const std::pair<const char*, const char*> expected[] = {
      {"P: two", "stop"}, {"P: three", "stop"}, {"Q: one", "length"}, {"Q: a kind of", "stop"}};
  REQUIRE(body["choices"].size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(body["choices"][i]["index"] == i);
    CHECK(body["choices"][i]["text"] == expected[i].first);
    CHECK(body["choices"][i]["finish_reason"] == expected[i].second);
  }
  CHECK(body["object"] == "text_completion");
  CHECK(body["usage"]["completion_tokens"] ==
        ids("one").size() + ids("two").size() + ids("three").size() + ids("a kind of music").size());
  CHECK(body["usage"]["prompt_tokens_details"]["cached_tokens"] == 7);
}

TEST_CASE("the choices of a stream open and close on their own, and usage comes once") {
  auto how = settings(true);
  how.samples = 2;
  how.include_usage = true;
  answer made(how, text());
  auto bytes = made.token(0, {.sample = 1, .id = ids("one").front()});
  bytes += run(made, ids("two"), finish::stop, 0, 0);
  bytes += made.finished(0, 1, finish::length);
  const auto events = events_of(bytes);
  std::vector<int> order;
  for (const auto& e : events)
    if (!e["choices"].empty()) order.push_back(e["choices"][0]["index"]);
  std::vector<int> expected = {1, 1, 0}; // an opening and a word; an opening, words, a close; a close
  expected.insert(expected.end(), ids("two").size() + 1, 0);
  expected.push_back(1);
  CHECK(order == expected);
  CHECK(events.back()["choices"].empty());
  CHECK(events.back()["usage"]["completion_tokens"] == ids("two").size() + 1);
}

TEST_CASE("logprobs come in the forms of the API, and no infinity breaks them") {
  const auto word = ids("violin").front();
  const gpu::token_logprob top[] = {{word, -0.5f}, {ids("b").front(), -std::numeric_limits<float>::infinity()}};
  const made_token t{.id = word, .logprob = -0.5f, .top = top};
  for (const bool chat : {true, false}) {
    auto how = settings(false);
    how.each.logprobs = true;
    if (!chat) how.form = &completion_reply();
    answer made(how, text());
    made.token(0, t);
    const auto body = json::parse(made.finished(0, 0, finish::length));
    const auto& logprobs = body["choices"][0]["logprobs"];
    const auto own = std::string(text().tokens().bytes_of(word));
    if (chat) {
      CHECK(logprobs["refusal"].is_null());
      REQUIRE(logprobs["content"].size() == 1);
      const auto& entry = logprobs["content"][0];
      CHECK(entry["token"] == own);
      CHECK(entry["logprob"] == -0.5);
      CHECK(entry["bytes"] == std::vector<int>(own.begin(), own.end()));
      REQUIRE(entry["top_logprobs"].size() == 2);
      CHECK(entry["top_logprobs"][0]["token"] == own);
      CHECK(entry["top_logprobs"][1]["logprob"] == -9999);
    } else {
      CHECK(logprobs["tokens"] == json::array({own}));
      CHECK(logprobs["token_logprobs"] == json::array({-0.5}));
      CHECK(logprobs["text_offset"] == json::array({0}));
      CHECK(logprobs["top_logprobs"][0] == json({{own, -0.5}, {"b", -9999}}));
    }
  }
}

TEST_CASE("answer") {
  test::property("streams what it would answer whole, in the grammar of the API, for any tokens", [] {
    const auto size = text().tokens().vocab_size();
    const auto tokens = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, size));
    const auto why = *rc::gen::element(finish::stop, finish::length);
    auto how = settings(true);
    how.include_usage = *rc::gen::arbitrary<bool>();
    how.each.stop = *rc::gen::element(std::vector<std::string>{}, std::vector<std::string>{"e", "in"},
                                      std::vector<std::string>{"\xef\xbf\xbd"});

    answer streamed(how, text());
    const auto events = events_of(run(streamed, tokens, why));
    how.stream = false;
    answer whole(how, text());
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
    if (how.each.stop.empty()) {
      auto spoken = tokens;
      std::erase_if(spoken,
                    [&](auto id) { return std::ranges::find(how.each.stop_tokens, id) != how.each.stop_tokens.end(); });
      RC_ASSERT(said == text().tokens().decode(spoken, true));
    }
  });
}
