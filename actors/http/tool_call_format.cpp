#include "actors/http/tool_call_format.hpp"

namespace quadrant::actors::http {

tool_call_format tool_call_format_of(std::string_view template_source) {
  const auto has = [&](std::string_view words) { return template_source.find(words) != std::string_view::npos; };
  if (has(marker::section)) return tool_call_format::deepseek;
  if (has(marker::tool_calls)) return tool_call_format::bracketed;
  if (has(marker::tool_call)) return tool_call_format::tagged;
  if (has(marker::function)) return tool_call_format::function_tag;
  if (has("\"parameters\"") && (has("ipython") || has(marker::python))) return tool_call_format::bare;
  return tool_call_format::none;
}

std::span<const std::string_view> markers_of(tool_call_format format) {
  static constexpr std::string_view tagged[] = {marker::tool_call, marker::tool_call_end};
  static constexpr std::string_view bracketed[] = {marker::tool_calls, marker::args, marker::call_id};
  static constexpr std::string_view deepseek[] = {marker::section, marker::section_end, marker::call, marker::call_end,
                                                  marker::separator};
  static constexpr std::string_view bare[] = {marker::python};
  switch (format) {
  case tool_call_format::tagged: return tagged;
  case tool_call_format::bracketed: return bracketed;
  case tool_call_format::deepseek: return deepseek;
  case tool_call_format::bare: return bare;
  case tool_call_format::none:
  case tool_call_format::function_tag: break;
  }
  return {};
}

} // namespace quadrant::actors::http
