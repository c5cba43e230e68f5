#include "actors/http/chat_reply.hpp"

#include <nlohmann/json.hpp>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }
std::string event(const json& value) { return "data: " + dump(value) + "\n\n"; }

json or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

json envelope(const answer_id& about, const char* kind) {
  return {{"id", about.id}, {"object", kind}, {"created", about.created}, {"model", about.model}};
}
json chunk(const answer_id& about, bool with_usage, json delta, json finish_reason) {
  auto body = envelope(about, "chat.completion.chunk");
  body["choices"] = json::array();
  body["choices"].push_back(json{
      {"index", 0}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", std::move(finish_reason)}});
  if (with_usage) body["usage"] = nullptr;
  return body;
}
json usage_json(const usage& used) {
  return {{"prompt_tokens", used.prompt_tokens},
          {"completion_tokens", used.completion_tokens},
          {"total_tokens", std::int64_t(used.prompt_tokens) + used.completion_tokens}};
}
json model_json(const std::string& model, std::int64_t created, std::int32_t max_positions) {
  return {{"id", model},
          {"object", "model"},
          {"created", created},
          {"owned_by", "quadrant"},
          {"max_model_len", max_positions}};
}
json error_json(const api_error& e) {
  json inner = {{"message", e.message}, {"type", e.type}, {"param", or_null(e.param)}, {"code", or_null(e.code)}};
  return {{"error", std::move(inner)}};
}

} // namespace

std::string error_body(const api_error& error) { return dump(error_json(error)); }

std::string model_body(const std::string& model, std::int64_t created, std::int32_t max_positions) {
  return dump(model_json(model, created, max_positions));
}

std::string models_body(const std::string& model, std::int64_t created, std::int32_t max_positions) {
  json list = {{"object", "list"}, {"data", json::array()}};
  list["data"].push_back(model_json(model, created, max_positions));
  return dump(list);
}

std::string completion_body(const answer_id& about, std::string_view text, std::string_view finish_reason,
                            const usage& used) {
  auto body = envelope(about, "chat.completion");
  json message = {{"role", "assistant"}, {"content", text}};
  body["choices"] = json::array();
  body["choices"].push_back(
      json{{"index", 0}, {"message", std::move(message)}, {"logprobs", nullptr}, {"finish_reason", finish_reason}});
  body["usage"] = usage_json(used);
  return dump(body);
}

std::string chat_events::opening() const {
  return event(chunk(about_, with_usage_, {{"role", "assistant"}, {"content", ""}}, nullptr));
}

std::string chat_events::text(std::string_view piece) const {
  json delta = json::object();
  delta["content"] = piece;
  return event(chunk(about_, with_usage_, std::move(delta), nullptr));
}

std::string chat_events::closing(std::string_view finish_reason, const usage& used) const {
  auto events = event(chunk(about_, with_usage_, json::object(), finish_reason));
  if (with_usage_) {
    auto last = envelope(about_, "chat.completion.chunk");
    last["choices"] = json::array();
    last["usage"] = usage_json(used);
    events += event(last);
  }
  return events + "data: [DONE]\n\n";
}

std::string chat_events::error(const api_error& error) { return event(error_json(error)); }

} // namespace quadrant::actors::http
