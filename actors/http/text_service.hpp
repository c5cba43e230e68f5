// actors/http/text_service.hpp: POST /tokenize and /detokenize: text to token ids and back, for clients that count them.
//
//   /tokenize     {"prompt"} or {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"}
//                 add_special_tokens: what frames a prompt (true); return_token_strs: the text of each id too (false)
//                 ─▶ {"count", "max_model_len", "tokens", "token_strs"}
//   /detokenize   {"tokens"} ─▶ {"prompt"}
//
// May take long, and waits for nothing.
// Threads any
#pragma once
#include <string>
#include <string_view>
#include <variant>

#include "actors/http/admission.hpp"
#include "actors/http/api_error.hpp"

namespace quadrant::actors::http {

/// The body of the answer.
std::variant<std::string, api_error> tokenize(const served_model& model, std::string_view body);
std::variant<std::string, api_error> detokenize(const served_model& model, std::string_view body);

} // namespace quadrant::actors::http
