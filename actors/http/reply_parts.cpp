#include "actors/http/reply_parts.hpp"

#include <cmath>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

json or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

json model_json(const std::string& model, std::int64_t created, std::int32_t max_positions) {
  return {{"id", model},
          {"object", "model"},
          {"created", created},
          {"owned_by", "quadrant"},
          {"max_model_len", max_positions}};
}

} // namespace

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }
std::string event(const json& value) { return "data: " + dump(value) + "\n\n"; }

json error_json(const api_error& e) {
  json inner = {{"message", e.message}, {"type", e.type}, {"param", or_null(e.param)}, {"code", or_null(e.code)}};
  return {{"error", std::move(inner)}};
}
std::string error_body(const api_error& error) { return dump(error_json(error)); }

json usage_json(const usage& used) {
  return {{"prompt_tokens", used.prompt_tokens},
          {"completion_tokens", used.completion_tokens},
          {"total_tokens", std::int64_t(used.prompt_tokens) + used.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", used.cached_tokens}}}};
}

std::string model_body(const std::string& model, std::int64_t created, std::int32_t max_positions) {
  return dump(model_json(model, created, max_positions));
}

std::string models_body(const std::string& model, std::int64_t created, std::int32_t max_positions) {
  json list = {{"object", "list"}, {"data", json::array()}};
  list["data"].push_back(model_json(model, created, max_positions));
  return dump(list);
}

double logprob_number(float logprob) {
  constexpr float lowest = -9999;
  return std::isnan(logprob) || logprob < lowest ? lowest : logprob;
}

} // namespace quadrant::actors::http
