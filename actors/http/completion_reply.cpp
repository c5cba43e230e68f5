// The choices of completions: text_completion, whole and in a stream.
#include "actors/http/reply_parts.hpp"

#include <cstdio>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

/// Here tokens are keys, so that parts of characters must not all become U+FFFD: they are "bytes:\xe4\xbd", as the API
/// has it.
std::string token_text(std::string_view bytes) {
  try {
    return (void)json(bytes).dump(), std::string(bytes);
  } catch (const json::exception&) { // not UTF-8
    std::string to = "bytes:";
    for (const char c : bytes) {
      char digits[8];
      std::snprintf(digits, sizeof digits, "\\x%02x", unsigned(static_cast<unsigned char>(c)));
      to += digits;
    }
    return to;
  }
}

json logprobs_json(const std::vector<said_token>& tokens) {
  if (tokens.empty()) return nullptr;
  auto words = json::array(), own = json::array(), tops = json::array(), offsets = json::array();
  for (const auto& one : tokens) {
    const auto text = token_text(one.bytes);
    words.push_back(text);
    own.push_back(logprob_number(one.logprob));
    offsets.push_back(one.text_offset);
    json top = json::object();
    for (const auto& [bytes, logprob] : one.top) top[token_text(bytes)] = logprob_number(logprob);
    top[text] = logprob_number(one.logprob); // the token itself is always there
    tops.push_back(std::move(top));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(own)},
          {"tokens", std::move(words)},
          {"top_logprobs", std::move(tops)}};
}

json text_choice(const utterance& what, json finish_reason) {
  return {{"index", 0},
          {"text", what.text},
          {"logprobs", logprobs_json(what.tokens)},
          {"finish_reason", std::move(finish_reason)}};
}

class completion_form final : public reply_form {
public:
  [[nodiscard]] const char* chunk_name() const override { return "text_completion"; }
  [[nodiscard]] const char* body_name() const override { return "text_completion"; }
  [[nodiscard]] json opening() const override { return nullptr; }
  [[nodiscard]] json said(const utterance& what) const override { return text_choice(what, nullptr); }
  [[nodiscard]] json closing(const utterance& rest, std::string_view finish_reason) const override {
    return text_choice(rest, finish_reason);
  }
  [[nodiscard]] json whole(const utterance& all, std::string_view finish_reason) const override {
    return text_choice(all, finish_reason);
  }
};

} // namespace

const reply_form& completion_reply() {
  static const completion_form form;
  return form;
}

} // namespace quadrant::actors::http
