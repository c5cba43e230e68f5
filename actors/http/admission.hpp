// actors/http/admission.hpp: from the body of a request to the work of an engine and the form of its answer; or why not.
// May take long (the ids of a megabyte of text), and waits for nothing.
// Threads any
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "actors/chat_text.hpp"
#include "actors/engine.hpp"
#include "actors/http/answer.hpp"
#include "actors/http/api_error.hpp"
#include "actors/http/chat_request.hpp"

namespace quadrant::actors::http {

/// The model behind the door.
struct served_model {
  chat_text text;
  model::model_config config;
  std::string name;                        ///< the one that clients give
  tool_call_format calls;                  ///< how it calls tools
  std::vector<std::int32_t> call_tokens{}; ///< control tokens among the marks of its calls

  served_model(chat_text with, model::model_config of, std::string called);
};

/// A request that may go to the engine.
struct admission {
  std::vector<generation> work; ///< one for each prompt
  answer::settings form;
  std::vector<std::string_view> ignored; ///< fields
};

std::variant<admission, api_error> admit_chat(const served_model& model, std::string_view body);
std::variant<admission, api_error> admit_completion(const served_model& model, std::string_view body);

/// The prompt of a chat.
std::variant<std::vector<std::int32_t>, api_error> chat_prompt(const served_model& model, chat_request request);
/// 404 where the request names another model.
std::optional<api_error> other_model(const served_model& model, const std::string& asked);

} // namespace quadrant::actors::http
