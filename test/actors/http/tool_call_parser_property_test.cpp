#include "test/actors/http/tool_texts.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::actors::http;

namespace {

/// Everything that comes out of a text that goes in by these pieces; ids, which are random, left out.
utterance read(tool_call_format format, std::string_view text, const std::vector<std::size_t>& pieces, bool only_one) {
  tool_call_parser parser({.format = format, .tools = some_tools(), .only_one = only_one});
  utterance all;
  const auto push = [&](std::string_view piece) {
    utterance said;
    parser.push(piece, said);
    all.add(std::move(said));
  };
  for (const auto size : pieces) {
    const auto piece = text.substr(0, size);
    text.remove_prefix(piece.size());
    push(piece);
  }
  push(text);
  utterance last;
  parser.flush(last);
  all.add(std::move(last));
  for (auto& call : all.calls) call.id.clear();
  return all;
}

void same(const utterance& a, const utterance& b) {
  RC_ASSERT(a.text == b.text);
  RC_ASSERT(a.calls.size() == b.calls.size());
  for (std::size_t i = 0; i < a.calls.size(); ++i) {
    RC_ASSERT(a.calls[i].index == b.calls[i].index);
    RC_ASSERT(a.calls[i].name == b.calls[i].name);
    RC_ASSERT(a.calls[i].arguments == b.calls[i].arguments);
  }
}

rc::Gen<std::vector<std::size_t>> pieces() {
  return rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, 9));
}

/// Shards of what calls are made of, in any order: hardly ever a call, often nearly one.
rc::Gen<std::string> rubble() {
  static const std::vector<std::string> shards = {"<tool_call>",
                                                  "</tool_call>",
                                                  "<function=",
                                                  "now>",
                                                  "</function>",
                                                  "<parameter=",
                                                  "place>",
                                                  "</parameter>",
                                                  "[TOOL_CALLS]",
                                                  "[ARGS]",
                                                  "[CALL_ID]",
                                                  "<|python_tag|>",
                                                  "<｜tool▁calls▁begin｜>",
                                                  "<｜tool▁call▁begin｜>",
                                                  "<｜tool▁sep｜>",
                                                  "<｜tool▁call▁end｜>",
                                                  "<｜tool▁calls▁end｜>",
                                                  "```json",
                                                  "```",
                                                  "{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  "\"name\"",
                                                  "\"arguments\"",
                                                  "\"parameters\"",
                                                  ":",
                                                  ",",
                                                  ";",
                                                  "\"now\"",
                                                  "{}",
                                                  "\n",
                                                  " ",
                                                  "x",
                                                  "{\"name\": \"now\", \"arguments\": {",
                                                  "\"",
                                                  "\\",
                                                  "function",
                                                  "<tool_",
                                                  "</tool_c"};
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(shards)),
                      [](const std::vector<std::string>& list) {
                        std::string all;
                        for (const auto& one : list) all += one;
                        return all;
                      });
}

rc::Gen<tool_call_format> any_format() {
  using enum tool_call_format;
  return rc::gen::element(none, tagged, function_tag, bracketed, deepseek, bare);
}

} // namespace

TEST_CASE("tool_call_parser") {
  test::property(
      "finds the same calls and text, however what a model writes is cut",
      [] {
        const auto& one = *rc::gen::elementOf(tool_texts());
        const auto only_one = *rc::gen::arbitrary<bool>();
        same(read(one.format, one.said, *pieces(), only_one), read(one.format, one.said, {}, only_one));
      },
      2000);

  test::property(
      "finds the same in rubble, and loses nothing where there is no call",
      [] {
        const auto format = *any_format();
        const auto said = *rubble();
        const auto whole = read(format, said, {}, false);
        same(read(format, said, *pieces(), false), whole);
        if (whole.calls.empty() && format != tool_call_format::deepseek) RC_ASSERT(whole.text == said);
      },
      4000);
}
