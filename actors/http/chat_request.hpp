// actors/http/chat_request.hpp: the body of POST /v1/chat/completions, checked.
//
//   field                  allowed                                                     where it is not there
//   messages               chat_messages.hpp says which                                an error
//   tools                  up to 128 functions                                         none
//   tool_choice            "auto"; "none": the template does not see the tools         "auto"
//   parallel_tool_calls    false: an answer ends with its first call                   true
//   chat_template_kwargs   an object: variables of the template                        none
//   reasoning_effort       a string: the template's variable of that name              none
//   add_generation_prompt  true or false                                               true
//   logprobs, top_logprobs true or false; with it 0 to 20                              false, 0
//
// and what generation_fields.hpp lists. Other fields are ignored, and named in `ignored`.
#pragma once
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "actors/http/generation_fields.hpp"

namespace quadrant::actors::http {

struct chat_request {
  nlohmann::ordered_json messages;
  nlohmann::ordered_json tools = nullptr;     ///< a list, or null: none, or not to be used
  nlohmann::ordered_json variables = nullptr; ///< of the template; an object or null
  bool parallel_calls = true, add_generation_prompt = true;
  generation_fields how;
  std::vector<std::string_view> ignored;
};

/// Never throws, whatever the bytes. defaults: what the model wants where the request says nothing.
std::variant<chat_request, api_error> parse_chat_request(std::string_view body, const gpu::sampling& defaults);

/// What a chat is rendered from, of a request of any kind: messages, tools, variables, add_generation_prompt.
chat_request read_conversation(request_fields& fields);

} // namespace quadrant::actors::http
