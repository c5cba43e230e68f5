#include <doctest/doctest.h>

#include "actors/http/choice.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;
using namespace quadrant::actors::http;

namespace {

const chat_text& text() {
  static const auto opened = [] {
    const std::filesystem::path model = QUADRANT_SOURCE_DIR "/model/default";
    auto made = chat_text::open(model, model::model_config{});
    REQUIRE(made);
    return std::move(made).value();
  }();
  return opened;
}

std::vector<std::int32_t> ids(const std::string& words) {
  return text().tokens().encode(words, model::special_tokens::as_text);
}

struct heard {
  utterance all;
  std::string reason;
  std::size_t early = 0; ///< tokens that came before their text
};
heard run(const choice::settings& how, const std::vector<std::int32_t>& tokens, finish why) {
  choice made(how, text());
  heard to;
  std::size_t bytes = 0;
  const auto hear = [&](utterance said) {
    to.all.add(std::move(said));
    bytes = 0;
    for (const auto& one : to.all.tokens) bytes += one.bytes.size();
    if (bytes > to.all.text.size() && !made.over()) ++to.early; // the last one may be cut
  };
  for (const auto id : tokens) {
    if (made.over()) break;
    hear(made.token({.id = id, .logprob = -1}));
  }
  if (!made.over()) to.all.add(made.finished(why));
  to.reason = made.finish_reason();
  return to;
}

std::string joined(const std::vector<said_token>& tokens) {
  std::string bytes;
  for (const auto& one : tokens) bytes += one.bytes;
  return bytes;
}

} // namespace

TEST_CASE("logprobs") {
  test::property(
      "come with their text or after it, and together say what the answer says",
      [] {
        choice::settings how{.start = model::text_start::continued, .logprobs = true};
        how.stop = *rc::gen::element(std::vector<std::string>{}, std::vector<std::string>{"e", "in"},
                                     std::vector<std::string>{" mus", "ic"});
        const auto words =
            *rc::gen::elementOf(std::vector<std::string>{"a kind of music that is old", "你好 👍🏽 Köln",
                                                         "the end in an inn", "music musical musician", "é"});
        const auto all = ids(words);
        const auto cut = *rc::gen::inRange<std::size_t>(0, all.size() + 1);
        const std::vector<std::int32_t> tokens(all.begin(), all.begin() + std::ptrdiff_t(cut));
        const auto out = run(how, tokens, finish::length);
        RC_ASSERT(out.early == 0U);
        const auto said = joined(out.all.tokens);
        if (out.reason == "length") {
          RC_ASSERT(out.all.tokens.size() == tokens.size());
        } else { // cut within a token at most
          RC_ASSERT(said.starts_with(out.all.text));
          if (!out.all.tokens.empty())
            RC_ASSERT(said.size() - out.all.tokens.back().bytes.size() < out.all.text.size());
        }
        std::int64_t before = -1;
        for (const auto& one : out.all.tokens) {
          RC_ASSERT(one.text_offset >= before);
          before = one.text_offset;
        }
      },
      500);
}

TEST_CASE("the stop string is part of the answer where it is asked for, and does not count too early") {
  choice::settings how{.start = model::text_start::continued, .stop = {" music"}};
  const auto tokens = ids("a kind of music that is old");
  CHECK(run(how, tokens, finish::length).all.text == "a kind of");
  how.include_stop = true;
  CHECK(run(how, tokens, finish::length).all.text == "a kind of music");
  how.min_tokens = std::int32_t(tokens.size()) + 1;
  const auto out = run(how, tokens, finish::length);
  CHECK(out.all.text == "a kind of music that is old");
  CHECK(out.reason == "length");
}

TEST_CASE("marks of calls are seen though they are control tokens, and other control tokens are not") {
  const auto mark = text().tokens().id_of("<|im_start|>"), end = text().tokens().id_of("<|im_end|>");
  REQUIRE(mark);
  REQUIRE(end);
  auto tokens = ids("a");
  tokens.push_back(*end);
  tokens.push_back(*mark);
  CHECK(run({.start = model::text_start::continued}, tokens, finish::length).all.text == "a");
  CHECK(run({.start = model::text_start::continued, .shown_tokens = {*mark}}, tokens, finish::length).all.text ==
        "a<|im_start|>");
}

TEST_CASE("an answer that calls a tool ends with tool_calls, or with what cut it") {
  choice::settings how{.start = model::text_start::continued, .stop_tokens = {7}};
  how.calls.format = tool_call_format::tagged;
  const auto tokens = ids(R"(<tool_call>{"name": "now", "arguments": {"a": 1}}</tool_call>)");
  const auto whole = run(how, tokens, finish::stop);
  REQUIRE(whole.all.calls.size() == 1);
  CHECK(whole.all.calls[0].arguments == R"({"a": 1})");
  CHECK(whole.all.text.empty());
  CHECK(whole.reason == "tool_calls");
  CHECK(run(how, tokens, finish::length).reason == "length");
  how.calls.only_one = true;
  auto more = tokens;
  for (const auto id : ids(" and more")) more.push_back(id);
  const auto one = run(how, more, finish::length);
  CHECK(one.reason == "tool_calls");
  CHECK(one.all.text.empty());
}
