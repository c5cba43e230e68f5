#include "actors/loadgen/answer_event.hpp"

#include <limits>

#include <nlohmann/json.hpp>

namespace quadrant::actors::loadgen {
namespace {

using json = nlohmann::json;

constexpr std::size_t shown_bytes = 160; // of what another program says, in one line of ours

/// One line of printable characters.
std::string shown(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, shown_bytes)) line += static_cast<unsigned char>(c) < ' ' || c == 127 ? ' ' : c;
  return text.size() > shown_bytes ? line + "…" : line;
}

const json* find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool holds(const json& object, const char* key) {
  const auto* value = find(object, key);
  return value != nullptr && (value->is_string() ? !value->get_ref<const std::string&>().empty() : !value->empty());
}

std::int32_t count(const json& object, const char* key) {
  const auto* value = find(object, key);
  if (value == nullptr || !value->is_number_integer()) return -1;
  const auto n = value->get<std::int64_t>();
  return n < 0 || n > std::numeric_limits<std::int32_t>::max() ? -1 : std::int32_t(n);
}

std::optional<token_usage> usage_of(const json& body) {
  const auto* usage = find(body, "usage");
  if (usage == nullptr) return std::nullopt;
  const token_usage used{count(*usage, "prompt_tokens"), count(*usage, "completion_tokens")};
  return used.prompt_tokens < 0 || used.completion_tokens < 0 ? std::nullopt : std::optional(used);
}

/// {"error": {"message": …}}, {"error": …}, {"object": "error", "message": …}, {"detail": …}
std::optional<std::string> error_of(const json& body) {
  const auto* error = find(body, "error");
  const auto* object = find(body, "object");
  if (error == nullptr && object != nullptr && *object == "error") error = &body;
  if (error == nullptr) error = find(body, "detail");
  if (error == nullptr) return std::nullopt;
  const auto* message = find(*error, "message");
  if (message == nullptr) message = error;
  return shown(message->is_string() ? message->get<std::string>()
                                    : message->dump(-1, ' ', true, json::error_handler_t::replace));
}

answer_event broken(std::string_view data) {
  answer_event e;
  e.error = "an event that is no part of an answer: " + shown(data);
  e.broken = true;
  return e;
}

} // namespace

answer_event parse_event(std::string_view data) {
  answer_event e;
  if (data == "[DONE]") {
    e.done = true;
    return e;
  }
  const auto body = json::parse(data, nullptr, false);
  if (!body.is_object()) return broken(data);
  e.error = error_of(body);
  if (e.error) return e;
  e.usage = usage_of(body);
  const auto* choices = find(body, "choices");
  if (choices == nullptr || !choices->is_array()) return e.usage ? e : broken(data);
  for (const auto& choice : *choices) {
    e.finished |= find(choice, "finish_reason") != nullptr;
    e.has_text |= holds(choice, "text");
    if (const auto* delta = find(choice, "delta"))
      for (const auto* key : {"content", "reasoning_content", "reasoning", "refusal", "tool_calls"})
        e.has_text |= holds(*delta, key);
  }
  return e;
}

std::optional<token_usage> parse_usage(std::string_view body) { return usage_of(json::parse(body, nullptr, false)); }

std::string error_message(std::string_view body) {
  const auto parsed = json::parse(body, nullptr, false);
  if (auto message = error_of(parsed)) return std::move(*message);
  return shown(body);
}

} // namespace quadrant::actors::loadgen
