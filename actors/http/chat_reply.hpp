// actors/http/chat_reply.hpp: the JSON that answers clients, in the forms of OpenAI's API.
// Text goes in as UTF-8; bytes that are none come out as U+FFFD.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "actors/http/api_error.hpp"

namespace quadrant::actors::http {

struct usage {
  std::int32_t prompt_tokens = 0, completion_tokens = 0;
};

/// What every part of one answer repeats.
struct answer_id {
  std::string id, model;
  std::int64_t created = 0; ///< seconds since 1970
};

std::string error_body(const api_error& error);
/// What GET /v1/models lists, and GET /v1/models/{id} shows.
std::string model_body(const std::string& model, std::int64_t created, std::int32_t max_positions);
std::string models_body(const std::string& model, std::int64_t created, std::int32_t max_positions);

/// A whole answer. finish_reason: stop | length
std::string completion_body(const answer_id& about, std::string_view text, std::string_view finish_reason,
                            const usage& used);

/// A streamed answer as server-sent events: opening, text..., closing, [usage], done; or error in place of what is
/// left.
class chat_events {
public:
  /// with_usage: a usage chunk comes last, and the others say `"usage": null`, as the API has it.
  chat_events(answer_id about, bool with_usage) : about_(std::move(about)), with_usage_(with_usage) {}

  [[nodiscard]] std::string opening() const;
  [[nodiscard]] std::string text(std::string_view piece) const;
  /// The last content chunk, the usage chunk where it is wanted, and [DONE].
  [[nodiscard]] std::string closing(std::string_view finish_reason, const usage& used) const;
  [[nodiscard]] static std::string error(const api_error& error);

private:
  answer_id about_;
  bool with_usage_;
};

} // namespace quadrant::actors::http
