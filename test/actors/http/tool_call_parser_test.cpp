#include <set>

#include <doctest/doctest.h>

#include "test/actors/http/tool_texts.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::actors::http;

namespace {

named_calls named(const utterance& all) {
  named_calls calls;
  for (const auto& call : all.calls) calls.emplace_back(call.name, call.arguments);
  return calls;
}

} // namespace

TEST_CASE("calls are found in what models write, and what is none comes out unharmed") {
  for (const auto& one : tool_texts()) {
    CAPTURE(one.said);
    tool_call_parser parser({.format = one.format, .tools = some_tools()});
    utterance all;
    parser.push(one.said, all);
    parser.flush(all);
    CHECK(all.text == one.text);
    CHECK(named(all) == one.calls);
    CHECK(parser.called() == !one.calls.empty());
    std::set<std::string> ids;
    for (std::size_t i = 0; i < all.calls.size(); ++i) {
      CHECK(all.calls[i].index == std::int32_t(i));
      CHECK(ids.insert(all.calls[i].id).second);
      CHECK(all.calls[i].id.size() == (one.format == tool_call_format::bracketed ? 9 : 21));
    }
  }
}

TEST_CASE("a call is told before its arguments, which come as they are made") {
  tool_call_parser parser({.format = tool_call_format::tagged, .tools = some_tools()});
  const auto push = [&](std::string_view text) {
    utterance to;
    parser.push(text, to);
    return to;
  };
  CHECK(push("Now <tool").text == "Now ");
  CHECK(push("_call>\n{\"name\": \"weather\", \"argum").empty());
  const auto begun = push("ents\": {\"pla");
  REQUIRE(begun.calls.size() == 1);
  CHECK(begun.calls[0].name == "weather");
  CHECK(begun.calls[0].arguments == "{\"pla");
  const auto more = push("ce\": \"x");
  REQUIRE(more.calls.size() == 1);
  CHECK(more.calls[0].name.empty());
  CHECK(more.calls[0].id.empty());
  CHECK(more.calls[0].arguments == "ce\": \"x");
  CHECK(push("\"}}\n</tool_c").calls[0].arguments == "\"}");
  CHECK(push("all> then").text == " then");
}

TEST_CASE("where one call is wanted, it is the last thing that is read") {
  tool_call_parser parser({.format = tool_call_format::tagged, .tools = some_tools(), .only_one = true});
  utterance all;
  parser.push("<tool_call>{\"name\":\"now\",\"arguments\":{}}", all);
  CHECK(!parser.done());
  parser.push("</tool_call>\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call> more", all);
  CHECK(parser.done());
  parser.flush(all);
  CHECK(all.calls.size() == 1);
  CHECK(all.text.empty());
}

TEST_CASE("a template shows how its model calls tools") {
  const std::pair<const char*, tool_call_format> templates[] = {
      {"{{ '<tool_call>\\n' + call }}", tool_call_format::tagged},
      {"<tool_call>\n<function=example>\n<parameter=x>", tool_call_format::tagged},
      {"reply with <function=example_function_name>{\"example_name\": \"example_value\"}</function>",
       tool_call_format::function_tag},
      {"{{ '[TOOL_CALLS] [' }}", tool_call_format::bracketed},
      {"{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'}}", tool_call_format::deepseek},
      {"Environment: ipython {{ '{\"name\": \"' + n + '\", \"parameters\": ' }}", tool_call_format::bare},
      {"{{ messages }}", tool_call_format::none}};
  for (const auto& [text, format] : templates) {
    CAPTURE(text);
    CHECK(tool_call_format_of(text) == format);
  }
}

TEST_CASE("nothing that nests deep, or never ends, harms the parser") {
  for (const auto format : {tool_call_format::tagged, tool_call_format::bare, tool_call_format::bracketed}) {
    tool_call_parser parser({.format = format, .tools = some_tools()});
    const std::string marker = format == tool_call_format::tagged ? "<tool_call>"
                               : format == tool_call_format::bare ? ""
                                                                  : "[TOOL_CALLS][";
    const std::string said = marker + "{\"x\": " + std::string(200'000, '[') + std::string(200'000, ']') + "}";
    utterance all;
    for (std::size_t at = 0; at < said.size(); at += 1000) parser.push(said.substr(at, 1000), all);
    parser.flush(all);
    CHECK(all.calls.empty());
    CHECK(all.text == said);
  }
}

TEST_CASE("spaces without end are text, and cost no more than text") {
  for (const auto format : {tool_call_format::tagged, tool_call_format::bare, tool_call_format::deepseek}) {
    tool_call_parser parser({.format = format, .tools = some_tools()});
    utterance all;
    constexpr std::size_t many = 1'000'000; // looked at anew for each, they would take minutes
    for (std::size_t i = 0; i < many; ++i) parser.push("\n", all);
    parser.flush(all);
    CHECK(all.text == std::string(many, '\n'));
  }
}
