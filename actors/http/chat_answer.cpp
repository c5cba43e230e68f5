#include "actors/http/chat_answer.hpp"

#include <algorithm>

namespace quadrant::actors::http {

chat_answer::chat_answer(settings how, model::token_decoder decoder)
    : how_(std::move(how)), events_(how_.about, how_.include_usage), decoder_(decoder), matcher_(how_.stop) {
  used_.prompt_tokens = how_.prompt_tokens;
}

std::string chat_answer::put(const std::string& text) {
  if (how_.stream) return text.empty() ? std::string() : events_.text(text);
  text_ += text;
  return {};
}

std::string chat_answer::close(std::string_view finish_reason) {
  over_ = true;
  return how_.stream ? events_.closing(finish_reason, used_) : completion_body(how_.about, text_, finish_reason, used_);
}

std::string chat_answer::token(std::int32_t id) {
  if (over_) return {};
  std::string bytes = how_.stream && !begun() ? events_.opening() : std::string();
  ++used_.completion_tokens;
  if (std::ranges::find(how_.stop_tokens, id) != how_.stop_tokens.end()) return bytes; // finished() comes next
  bytes += put(matcher_.push(decoder_.push(id)));
  if (matcher_.stopped()) bytes += close("stop");
  return bytes;
}

std::string chat_answer::finished(finish why) {
  if (over_) return {};
  std::string bytes = how_.stream && !begun() ? events_.opening() : std::string();
  bytes += put(matcher_.push(decoder_.flush()));
  const bool stopped = matcher_.stopped(); // by the text of a cut character, at the very end
  bytes += put(matcher_.flush());
  return bytes + close(stopped || why == finish::stop ? "stop" : "length");
}

} // namespace quadrant::actors::http
