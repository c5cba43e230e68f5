// actors/http/tool_call_format.hpp: how a model writes the calls of tools, as its chat template shows.
//
//   tagged         <tool_call>{"name": …, "arguments": {…}}</tool_call>        Hermes, Qwen
//                  <tool_call><function=NAME><parameter=KEY>…                  Qwen3-Coder
//   function_tag   <function=NAME>{…}</function>                               Llama 3, by some of its templates
//   bracketed      [TOOL_CALLS][{"name": …, "arguments": {…}}, …]              Mistral
//                  [TOOL_CALLS]NAME[ARGS]{…}                                   Mistral, later
//   deepseek       <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>   DeepSeek-V3.1
//                  …function<｜tool▁sep｜>NAME, a fenced block of JSON           DeepSeek-V3, R1
//   bare           {"name": …, "parameters": {…}}, the whole answer            Llama 3.1
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace quadrant::actors::http {

enum class tool_call_format : std::uint8_t { none, tagged, function_tag, bracketed, deepseek, bare };

/// none: the template shows no way that is known here.
tool_call_format tool_call_format_of(std::string_view template_source);

/// What may be control tokens of the vocabulary, and must be seen all the same.
std::span<const std::string_view> markers_of(tool_call_format format);

namespace marker {
inline constexpr std::string_view tool_call = "<tool_call>", tool_call_end = "</tool_call>",
                                  function = "<function=", function_end = "</function>",
                                  parameter = "<parameter=", parameter_end = "</parameter>",
                                  tool_calls = "[TOOL_CALLS]", args = "[ARGS]", call_id = "[CALL_ID]",
                                  python = "<|python_tag|>", section = "<｜tool▁calls▁begin｜>",
                                  section_end = "<｜tool▁calls▁end｜>", call = "<｜tool▁call▁begin｜>",
                                  call_end = "<｜tool▁call▁end｜>", separator = "<｜tool▁sep｜>", fence = "```";
} // namespace marker

} // namespace quadrant::actors::http
