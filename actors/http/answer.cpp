#include "actors/http/answer.hpp"

#include <algorithm>
#include <utility>

namespace quadrant::actors::http {

using json = nlohmann::ordered_json;

answer::answer(settings how, const chat_text& text)
    : how_(std::move(how)), text_(text), open_(std::size_t(how_.samples) * std::size_t(how_.prompts)) {
  used_.prompt_tokens = how_.prompt_tokens;
  for (std::size_t i = 0; i < open_; ++i) parts_.push_back({.maker = choice(how_.each, text_)});
}

std::size_t answer::index(std::int32_t prompt, std::int32_t sample) const {
  return std::size_t(prompt) * std::size_t(how_.samples) + std::size_t(sample);
}

bool answer::choice_over(std::int32_t prompt, std::int32_t sample) const {
  return parts_[index(prompt, sample)].maker.over();
}
bool answer::prompt_over(std::int32_t prompt) const {
  for (std::int32_t sample = 0; sample < how_.samples; ++sample)
    if (!choice_over(prompt, sample)) return false;
  return true;
}

std::string_view answer::finish_reason() const {
  std::string_view reason = "stop";
  for (const auto& one : parts_) {
    if (one.maker.finish_reason() == "length") return "length";
    if (one.maker.finish_reason() == "tool_calls") reason = "tool_calls";
  }
  return reason;
}

// ---- what is sent ------------------------------------------------------------------------------------------------

json answer::envelope(const char* kind) const {
  return {{"id", how_.about.id},
          {"object", kind},
          {"created", how_.about.created},
          {"model", how_.about.model},
          {"choices", json::array()}};
}

std::string answer::chunk(std::size_t index, json choice) const {
  auto body = envelope(how_.form->chunk_name());
  choice["index"] = index;
  body["choices"].push_back(std::move(choice));
  if (how_.include_usage || how_.continuous_usage)
    body["usage"] = how_.continuous_usage ? usage_json(used_) : json(nullptr);
  return event(body);
}

/// The end of a stream.
std::string answer::ending() const {
  std::string events;
  if (how_.include_usage) {
    auto last = envelope(how_.form->chunk_name());
    last["usage"] = usage_json(used_);
    events += event(last);
  }
  return events.append(last_event);
}

std::string answer::open(std::size_t index) {
  if (std::exchange(parts_[index].opened, true)) return {};
  std::string events;
  if (how_.stream)
    if (auto opening = how_.form->opening(); !opening.is_null()) events += chunk(index, std::move(opening));
  if (!how_.echo.empty()) events += put(index, {.text = how_.echo[index / std::size_t(how_.samples)]});
  return events;
}

std::string answer::put(std::size_t index, utterance what) {
  if (how_.stream) return what.empty() ? std::string() : chunk(index, how_.form->said(what));
  parts_[index].all.add(std::move(what));
  return {};
}

std::string answer::close(std::size_t index, utterance rest) {
  --open_;
  const auto reason = parts_[index].maker.finish_reason();
  if (how_.stream) {
    utterance words{.text = std::move(rest.text), .calls = std::move(rest.calls)}; // what a closing chunk does not hold
    if (!words.empty()) std::swap(words.tokens, rest.tokens);
    auto events = put(index, std::move(words)) + chunk(index, how_.form->closing({.tokens = rest.tokens}, reason));
    return over() ? events + ending() : events;
  }
  parts_[index].all.add(std::move(rest));
  if (!over()) return {};
  auto body = envelope(how_.form->body_name());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    auto choice = how_.form->whole(parts_[i].all, parts_[i].maker.finish_reason());
    choice["index"] = i;
    body["choices"].push_back(std::move(choice));
  }
  body["usage"] = usage_json(used_);
  return dump(body);
}

// ---- what comes --------------------------------------------------------------------------------------------------

std::string answer::token(std::int32_t prompt, const made_token& t) {
  const auto at = index(prompt, t.sample);
  auto& maker = parts_[at].maker;
  if (maker.over()) return {};
  auto what = maker.token(t);
  ++used_.completion_tokens;
  auto bytes = open(at);
  return bytes + (maker.over() ? close(at, std::move(what)) : put(at, std::move(what)));
}

std::string answer::finished(std::int32_t prompt, std::int32_t sample, finish why) {
  const auto at = index(prompt, sample);
  if (parts_[at].maker.over()) return {};
  auto rest = parts_[at].maker.finished(why);
  auto bytes = open(at);
  return bytes + close(at, std::move(rest));
}

} // namespace quadrant::actors::http
