#include "actors/loadgen/question_form.hpp"

namespace quadrant::actors::loadgen {

using json = nlohmann::ordered_json;

namespace {

std::string dump(const json& body) { return body.dump(-1, ' ', false, json::error_handler_t::replace); }

} // namespace

json question_form::about(const std::string& prompt) const {
  json body{{"model", model}};
  if (chat)
    body["messages"] = json::array({json{{"role", "user"}, {"content", prompt}}});
  else
    body["prompt"] = prompt;
  return body;
}

json question_form::asked(const std::string& prompt, std::int32_t max_tokens) const {
  auto body = about(prompt);
  body["max_tokens"] = max_tokens;
  if (ignore_eos) body["ignore_eos"] = true;
  return body;
}

std::string question_form::streamed(const std::string& prompt, std::int32_t max_tokens) const {
  auto body = asked(prompt, max_tokens);
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  body.merge_patch(extra);
  return dump(body);
}

std::string question_form::whole(const std::string& prompt, std::int32_t max_tokens) const {
  auto body = asked(prompt, max_tokens);
  body.merge_patch(extra);
  for (const auto* key : {"stream", "stream_options"}) body.erase(key);
  return dump(body);
}

std::string question_form::to_tokenize(const std::string& prompt) const { return dump(about(prompt)); }

} // namespace quadrant::actors::loadgen
