// actors/loadgen/question_form.hpp: a prompt and a length as the body of a request, for chat or for completions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace quadrant::actors::loadgen {

struct question_form {
  std::string model;
  bool chat = true;       ///< /v1/chat/completions, or /v1/completions
  bool ignore_eos = true; ///< asks for exactly max_tokens, of servers that know the field
  nlohmann::ordered_json extra = nlohmann::ordered_json::object(); ///< laid over the body; null takes a field away

  [[nodiscard]] std::string_view path() const { return chat ? "/v1/chat/completions" : "/v1/completions"; }
  [[nodiscard]] std::string streamed(const std::string& prompt, std::int32_t max_tokens) const;
  [[nodiscard]] std::string whole(const std::string& prompt, std::int32_t max_tokens) const;
  /// For vLLM's POST /tokenize, which counts the chat's template too.
  [[nodiscard]] std::string to_tokenize(const std::string& prompt) const;

private:
  [[nodiscard]] nlohmann::ordered_json about(const std::string& prompt) const;
  [[nodiscard]] nlohmann::ordered_json asked(const std::string& prompt, std::int32_t max_tokens) const;
};

} // namespace quadrant::actors::loadgen
