#include "actors/http/choice.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace quadrant::actors::http {

choice::choice(const settings& how, const chat_text& text)
    : how_(how), tokenizer_(text.tokens()), decoder_(text.decoder(how.start, control_tokens::shown)),
      matcher_(how.stop), parser_(how.calls) {}

std::string choice::decode(std::int32_t id) {
  const bool hidden = tokenizer_.is_special(id) && std::ranges::find(how_.shown_tokens, id) == how_.shown_tokens.end();
  return hidden ? std::string() : decoder_.push(id);
}

/// A token whose character is unfinished waits for the one that finishes it.
void choice::note(const made_token& t, const std::string& text) {
  if (how_.logprobs) {
    said_token one{.bytes = tokenizer_.bytes_of(t.id), .logprob = t.logprob, .text_offset = characters_};
    for (const auto& [id, logprob] : t.top) one.top.emplace_back(tokenizer_.bytes_of(id), logprob);
    waiting_.push_back({.what = std::move(one), .begin = decoded_});
  }
  decoded_ += text.size();
  characters_ += std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
  if (text.empty()) return;
  for (auto open = waiting_.rbegin(); open != waiting_.rend() && !open->complete; ++open) {
    open->end = decoded_;
    open->complete = true;
  }
}

/// Text that no stop string can reach any more.
void choice::said(const std::string& text, utterance& to) {
  passed_ += text.size();
  if (how_.calls.format == tool_call_format::none)
    to.text += text;
  else
    parser_.push(text, to);
}

/// The tokens whose text ends by `end`.
void choice::let_go(std::size_t end, utterance& to) {
  for (; !waiting_.empty() && waiting_.front().complete && waiting_.front().end <= end; waiting_.pop_front())
    to.tokens.push_back(std::move(waiting_.front().what));
}

/// A stop string: tokens of which no text is left are not said.
void choice::stop(utterance& to) {
  if (how_.include_stop) said(std::string(matcher_.found()), to);
  for (; !waiting_.empty() && waiting_.front().begin < passed_; waiting_.pop_front())
    to.tokens.push_back(std::move(waiting_.front().what));
  parser_.flush(to);
  finish_reason_ = parser_.called() ? "tool_calls" : "stop";
}

utterance choice::token(const made_token& t) {
  utterance to;
  if (over()) return to;
  ++tokens_;
  if (std::ranges::find(how_.stop_tokens, t.id) != how_.stop_tokens.end()) return to; // finished() comes next
  const auto text = decode(t.id);
  note(t, text);
  said(tokens_ < how_.min_tokens ? text : matcher_.push(text), to);
  if (matcher_.stopped()) {
    stop(to);
  } else {
    let_go(passed_, to);
    if (parser_.done()) finish_reason_ = "tool_calls";
  }
  return to;
}

utterance choice::finished(finish why) {
  utterance to;
  if (over()) return to;
  const auto rest = decoder_.flush();
  decoded_ += rest.size();
  said(matcher_.push(rest), to);
  if (matcher_.stopped()) { // by the text of a cut character, at the very end
    stop(to);
    return to;
  }
  said(matcher_.flush(), to);
  parser_.flush(to);
  for (auto& one : std::exchange(waiting_, {})) to.tokens.push_back(std::move(one.what));
  finish_reason_ = why != finish::stop ? "length" : parser_.called() ? "tool_calls" : "stop";
  return to;
}

} // namespace quadrant::actors::http
