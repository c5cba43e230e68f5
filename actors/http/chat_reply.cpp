// The choices of chat answers: chat.completion and chat.completion.chunk.
#include "actors/http/reply_parts.hpp"

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

json token_json(std::string_view bytes, float logprob) {
  json to = {{"token", bytes}, {"logprob", logprob_number(logprob)}, {"bytes", json::array()}};
  for (const char c : bytes) to["bytes"].push_back(static_cast<unsigned char>(c));
  return to;
}

json logprobs_json(const std::vector<said_token>& tokens) {
  if (tokens.empty()) return nullptr;
  auto content = json::array();
  for (const auto& one : tokens) {
    auto entry = token_json(one.bytes, one.logprob);
    auto& top = entry["top_logprobs"] = json::array();
    for (const auto& [bytes, logprob] : one.top) top.push_back(token_json(bytes, logprob));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

json delta_choice(json delta, const std::vector<said_token>& tokens, json finish_reason) {
  return {{"index", 0},
          {"delta", std::move(delta)},
          {"logprobs", logprobs_json(tokens)},
          {"finish_reason", std::move(finish_reason)}};
}

json delta_of(const utterance& what) {
  auto delta = json::object();
  if (!what.text.empty()) delta["content"] = what.text;
  for (const auto& piece : what.calls) {
    json function = json::object();
    if (!piece.name.empty()) function["name"] = piece.name;
    function["arguments"] = piece.arguments;
    json call = {{"index", piece.index}};
    if (!piece.name.empty()) call["id"] = piece.id, call["type"] = "function";
    call["function"] = std::move(function);
    delta["tool_calls"].push_back(std::move(call));
  }
  return delta;
}

class chat_form final : public reply_form {
public:
  [[nodiscard]] const char* chunk_name() const override { return "chat.completion.chunk"; }
  [[nodiscard]] const char* body_name() const override { return "chat.completion"; }
  [[nodiscard]] json opening() const override {
    return delta_choice({{"role", "assistant"}, {"content", ""}}, {}, nullptr);
  }
  [[nodiscard]] json said(const utterance& what) const override {
    return delta_choice(delta_of(what), what.tokens, nullptr);
  }
  [[nodiscard]] json closing(const utterance& rest, std::string_view finish_reason) const override {
    return delta_choice(delta_of(rest), rest.tokens, finish_reason);
  }
  [[nodiscard]] json whole(const utterance& all, std::string_view finish_reason) const override {
    json message = {{"role", "assistant"}, {"content", all.text}, {"refusal", nullptr}};
    if (!all.calls.empty() && all.text.empty()) message["content"] = nullptr;
    for (const auto& call : all.calls)
      message["tool_calls"].push_back(
          {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    return {{"index", 0},
            {"message", std::move(message)},
            {"logprobs", logprobs_json(all.tokens)},
            {"finish_reason", finish_reason}};
  }
};

} // namespace

const reply_form& chat_reply() {
  static const chat_form form;
  return form;
}

} // namespace quadrant::actors::http
