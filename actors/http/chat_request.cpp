#include "actors/http/chat_request.hpp"

#include <limits>

#include "actors/http/chat_messages.hpp"

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

void read_tool_choice(request_fields& fields, chat_request& to) {
  const auto* choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return;
  if (*choice == "none")
    to.tools = nullptr;
  else
    fields.wrong("tool_choice", "\"auto\" or \"none\": a model cannot be made to call a tool here");
}

std::int32_t read_top_logprobs(request_fields& fields) {
  const bool wanted = fields.boolean("logprobs", false);
  const auto top = std::int32_t(fields.integer("top_logprobs", 0, max_top_logprobs, 0));
  if (top > 0 && !wanted) fields.wrong("top_logprobs", "left out unless logprobs is true");
  return wanted ? top : -1;
}

} // namespace

chat_request read_conversation(request_fields& fields) {
  chat_request to;
  to.messages = read_messages(fields);
  to.tools = read_tools(fields);
  if (const auto* variables = fields.object("chat_template_kwargs")) to.variables = *variables;
  to.add_generation_prompt = fields.boolean("add_generation_prompt", true);
  if (fields.boolean("continue_final_message", false))
    fields.wrong("continue_final_message", "false: /v1/completions goes on with a text");
  return to;
}

std::variant<chat_request, api_error> parse_chat_request(std::string_view body, const gpu::sampling& defaults) {
  const auto parsed = parse_object(body);
  if (const auto* error = std::get_if<api_error>(&parsed)) return *error;
  request_fields fields(std::get<json>(parsed));
  auto to = read_conversation(fields);
  to.how = read_generation(fields, defaults);
  to.how.max_new_tokens = std::int32_t(
      fields.integer("max_completion_tokens", 1, std::numeric_limits<std::int32_t>::max(), to.how.max_new_tokens));
  read_tool_choice(fields, to);
  to.parallel_calls = fields.boolean("parallel_tool_calls", true);
  if (const auto effort = fields.text("reasoning_effort", "a word"); !effort.empty())
    to.variables["reasoning_effort"] = effort;
  to.how.top_logprobs = read_top_logprobs(fields);
  if (fields.problem()) return *fields.problem();
  to.ignored = fields.ignored();
  return to;
}

} // namespace quadrant::actors::http
