// actors/http/reply_parts.hpp: the JSON that answers of every kind have in common, in the forms of OpenAI's API.
// Text goes in as UTF-8; bytes that are none come out as U+FFFD.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "actors/http/api_error.hpp"
#include "actors/http/utterance.hpp"

namespace quadrant::actors::http {

struct usage {
  std::int32_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0; ///< cached: of the prompt
};

/// What every part of one answer repeats.
struct answer_id {
  std::string id, model;
  std::int64_t created = 0; ///< seconds since 1970
};

std::string dump(const nlohmann::ordered_json& value);
/// One server-sent event.
std::string event(const nlohmann::ordered_json& value);
inline constexpr std::string_view last_event = "data: [DONE]\n\n";

nlohmann::ordered_json error_json(const api_error& error);
std::string error_body(const api_error& error);
nlohmann::ordered_json usage_json(const usage& used);
/// What GET /v1/models lists, and GET /v1/models/{id} shows.
std::string model_body(const std::string& model, std::int64_t created, std::int32_t max_positions);
std::string models_body(const std::string& model, std::int64_t created, std::int32_t max_positions);

/// JSON has no infinities: what no filter let through, and what is no number, is -9999.
double logprob_number(float logprob);

/// The forms of one kind of answer. Choices go into the lists of chunks and bodies.
class reply_form {
public:
  virtual ~reply_form() = default;
  [[nodiscard]] virtual const char* chunk_name() const = 0; ///< "object" of a stream's parts
  [[nodiscard]] virtual const char* body_name() const = 0;  ///< and of a whole answer
  /// How a choice of a stream begins; null: with its first words.
  [[nodiscard]] virtual nlohmann::ordered_json opening() const = 0;
  [[nodiscard]] virtual nlohmann::ordered_json said(const utterance& what) const = 0;
  [[nodiscard]] virtual nlohmann::ordered_json closing(const utterance& rest, std::string_view finish_reason) const = 0;
  [[nodiscard]] virtual nlohmann::ordered_json whole(const utterance& all, std::string_view finish_reason) const = 0;
};
/// chat.completion
const reply_form& chat_reply();
/// text_completion
const reply_form& completion_reply();

} // namespace quadrant::actors::http
