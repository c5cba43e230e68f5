// test/actors/http/tool_texts.hpp: what models write when they call tools, and what that means.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "actors/http/tool_call_parser.hpp"

namespace quadrant::test {

using actors::http::tool_call_format;

/// Calls without their ids: names and arguments.
using named_calls = std::vector<std::pair<std::string, std::string>>;

struct tool_text {
  tool_call_format format;
  std::string said; ///< by the model
  std::string text; ///< of it, for the client
  named_calls calls{};
};

inline std::shared_ptr<const nlohmann::ordered_json> some_tools() {
  static const auto tools = std::make_shared<const nlohmann::ordered_json>(nlohmann::ordered_json::parse(R"([
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {
      "place": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": ["boolean", "null"]}}}}},
    {"type": "function", "function": {"name": "now"}}])"));
  return tools;
}

inline const std::vector<tool_text>& tool_texts() {
  using enum tool_call_format;
  static const std::vector<tool_text> all = {
      // <tool_call>
      {tagged,
       "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"a}\\\"b\", \"days\": 3}}\n</tool_call>",
       "",
       {{"weather", R"({"place": "a}\"b", "days": 3})"}}},
      {tagged,
       "Let me "
       "see.\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"now\",\"arguments\":{ "
       "}}</tool_call>",
       "Let me see.\n",
       {{"now", "{}"}, {"now", "{ }"}}},
      {tagged,
       "\n\n<tool_call>{\"arguments\": {\"place\": \"x\"}, \"name\": \"weather\"}</tool_call>\nDone.",
       "\nDone.",
       {{"weather", R"({"place":"x"})"}}},
      {tagged, R"(<tool_call>{"name": "now", "arguments": "{\"a\": 1}"}</tool_call>)", "", {{"now", R"({"a":1})"}}},
      {tagged, R"(<tool_call>{"name": "now"}</tool_call>)", "", {{"now", "{}"}}},
      {tagged,
       R"(<tool_call>{"name": "now", "arguments": {"a": [1, {}]}, "id": "}"}</tool_call>)",
       "",
       {{"now", R"({"a": [1, {}]})"}}},
      {tagged,
       "<tool_call>\n<function=weather>\n<parameter=place>\nKöln\n</parameter>\n<parameter=days>\n3\n</"
       "parameter>\n<parameter=exact>\ntrue\n</parameter>\n</function>\n</tool_call>",
       "",
       {{"weather", R"({"place":"Köln","days":3,"exact":true})"}}},
      {tagged,
       "<tool_call><function=weather><parameter=days>a few</parameter></function></tool_call>",
       "",
       {{"weather", R"({"days":"a few"})"}}},
      {tagged, "<tool_call><function=now>\n</function></tool_call>", "", {{"now", "{}"}}},
      {tagged, R"(<tool_call>{"name": "now", "arguments": {"cut": "sho)", "", {{"now", R"({"cut": "sho)"}}},
      {tagged, "a <tool_call> is a tag, and so is <tool_cal", "a <tool_call> is a tag, and so is <tool_cal"},
      {tagged, "<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call>",
       "<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call>"},
      {tagged, "<tool_call>{\"name\": \"\", \"arguments\": {}} x", "<tool_call>{\"name\": \"\", \"arguments\": {}} x"},
      {tagged, "<tool_call>{\"name\": \"now\", \"arg", "<tool_call>{\"name\": \"now\", \"arg"},
      {tagged, "<tool_call><function=now><parameter=a>1</function></tool_call>",
       "<tool_call><function=now><parameter=a>1</function></tool_call>"},
      {tagged, "  plain <text>\n", "  plain <text>\n"},
      {tagged, " \n", " \n"},
      {tagged, "<tool_call><tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>", "<tool_call>", {{"now", "{}"}}},
      // <function=
      {function_tag, "<function=weather>{\"place\": \"x\"}</function>", "", {{"weather", R"({"place": "x"})"}}},
      {function_tag, "x <function=now>{}</function> y", "x  y", {{"now", "{}"}}},
      {function_tag, "<function=now>none", "<function=now>none"},
      // [TOOL_CALLS]
      {bracketed,
       "[TOOL_CALLS] [{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"weather\", \"arguments\": {\"days\": 1}}]",
       "",
       {{"now", "{}"}, {"weather", R"({"days": 1})"}}},
      {bracketed,
       "Yes.[TOOL_CALLS]weather[ARGS]{\"place\": \"x\"}[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}",
       "Yes.",
       {{"weather", R"({"place": "x"})"}, {"now", "{}"}}},
      {bracketed, "[TOOL_CALLS] none", "[TOOL_CALLS] none"},
      {bracketed, "[TOOL_CALLS][1, 2]", "[TOOL_CALLS][1, 2]"},
      // DeepSeek
      {deepseek,
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"place\": "
       "\"x\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<"
       "｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "",
       {{"weather", R"({"place": "x"})"}, {"now", "{}"}}},
      {deepseek,
       "Hm.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{\"a\": "
       "1}<｜tool▁call▁end｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
       "Hm.",
       {{"now", R"({"a": 1})"}, {"weather", "{}"}}},
      {deepseek, "<｜tool▁calls▁begin｜> of what", "<｜tool▁calls▁begin｜> of what"},
      {deepseek, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>none",
       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>none"},
      // bare
      {bare, R"({"name": "weather", "parameters": {"place": "x"}})", "", {{"weather", R"({"place": "x"})"}}},
      {bare,
       R"(<|python_tag|>{"name": "now", "parameters": {}}; {"name": "now", "parameters": {"a": 1}})",
       "",
       {{"now", "{}"}, {"now", R"({"a": 1})"}}},
      {bare, R"({"name": "unknown", "parameters": {}})", R"({"name": "unknown", "parameters": {}})"},
      {bare, R"({"answer": 42})", R"({"answer": 42})"},
      {bare, R"(Here: {"name": "now", "parameters": {}})", R"(Here: {"name": "now", "parameters": {}})"},
      {bare, "\n{ \"a\" }\n", "\n{ \"a\" }\n"},
      // none is looked for
      {none, "<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>"}};
  return all;
}

} // namespace quadrant::test
