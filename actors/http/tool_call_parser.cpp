#include "actors/http/tool_call_parser.hpp"

#include <algorithm>
#include <utility>

#include "config/hash.hpp"
#include "config/random.hpp"

namespace quadrant::actors::http {
namespace {

constexpr std::string_view space = " \t\r\n";

std::string_view opening_of(tool_call_format format) {
  switch (format) {
  case tool_call_format::tagged: return marker::tool_call;
  case tool_call_format::function_tag: return marker::function;
  case tool_call_format::bracketed: return marker::tool_calls;
  case tool_call_format::deepseek: return marker::section;
  case tool_call_format::bare:
  case tool_call_format::none: break;
  }
  return {};
}

/// Bytes at the end of `text` with which `word` may begin.
std::size_t overlap(std::string_view text, std::string_view word) {
  auto size = std::min(text.size(), word.size() - 1);
  while (size > 0 && !text.ends_with(word.substr(0, size))) --size;
  return size;
}

/// Mistral's templates take nine letters and digits, and no other id.
std::string new_call_id(tool_call_format format) {
  const auto digits = to_hex(random_u64());
  return format == tool_call_format::bracketed ? digits.substr(0, 9) : "call_" + digits;
}

bool is_tool(const nlohmann::ordered_json& tools, const std::string& name) {
  return std::ranges::any_of(tools, [&](const auto& tool) { return tool.at("function").at("name") == name; });
}

} // namespace

void tool_call_parser::push(std::string_view text, utterance& to) {
  if (done_) return;
  held_ += text;
  while (!done_ && step(to)) {
  }
}

void tool_call_parser::flush(utterance& to) {
  if (std::exchange(ended_, true) || done_) return;
  while (!done_ && step(to)) {
  }
  if (done_) return;
  say(std::exchange(held_, {}), to);
  if (num_calls_ == 0) to.text += std::exchange(gap_, {});
}

/// True: something has moved, and there may be more to do.
bool tool_call_parser::step(utterance& to) {
  switch (place_) {
  case place::text: return how_.format == tool_call_format::bare ? find_bare_object(to) : find_marker(to);
  case place::section: return in_section(to);
  case place::head: return read_head(to);
  case place::arguments: return pass_arguments(to);
  case place::object_end: return end_object();
  case place::closing: return close_call();
  case place::list: return in_list();
  }
  return false;
}

// ---- text --------------------------------------------------------------------------------------------------------

bool tool_call_parser::find_marker(utterance& to) {
  const auto opening = opening_of(how_.format);
  const auto at = opening.empty() ? held_.npos : held_.find(opening);
  if (at == held_.npos) {
    const auto keep = opening.empty() || ended_ ? 0 : overlap(held_, opening);
    say(std::string_view(held_).substr(0, held_.size() - keep), to);
    held_.erase(0, held_.size() - keep);
    return false;
  }
  say(std::string_view(held_).substr(0, at), to);
  held_.erase(0, at + opening.size());
  marker_ = opening;
  switch (how_.format) {
  case tool_call_format::tagged: expect(head_form::object_or_tagged); break;
  case tool_call_format::function_tag: expect(head_form::function); break;
  default: enter(place::section);
  }
  return true;
}

/// An answer that begins with a brace, perhaps after <|python_tag|>, may be a call; any other is text.
bool tool_call_parser::find_bare_object(utterance& to) {
  if (!plain_) {
    std::string tag;
    const auto tagged = take(marker::python, &tag);
    if (tagged == answer::wait) return false;
    const auto first = held_.find_first_not_of(space);
    if (tagged == answer::yes || (first != held_.npos && held_[first] == '{')) {
      marker_ = std::move(tag);
      expect(head_form::object);
      return true;
    }
    plain_ = true;
  }
  say(std::exchange(held_, {}), to);
  return false;
}

void tool_call_parser::say(std::string_view text, utterance& to) {
  if (spoken_) {
    to.text += text;
    return;
  }
  gap_ += text;
  spoken_ = text.find_first_not_of(space) != text.npos;
  if (spoken_) to.text += std::exchange(gap_, {});
}

void tool_call_parser::give_back(utterance& to) {
  say(std::exchange(marker_, {}), to);
  plain_ = true;
  enter(place::text);
}

auto tool_call_parser::take(std::string_view word, std::string* taken) -> answer {
  text_cursor at(held_, !ended_);
  at.spaces();
  at.word(word);
  if (at.now() == text_cursor::state::more) return answer::wait;
  if (!at.good()) return answer::no;
  if (taken != nullptr) *taken += held_.substr(0, at.at());
  held_.erase(0, at.at());
  return answer::yes;
}

// ---- calls -------------------------------------------------------------------------------------------------------

void tool_call_parser::expect(head_form form) {
  static const auto no_tools = nlohmann::ordered_json::array();
  head_.emplace(form, how_.tools ? *how_.tools : no_tools);
  enter(place::head);
}

bool tool_call_parser::in_section(utterance& to) {
  if (how_.format == tool_call_format::bracketed) {
    const auto list = take("[", &marker_);
    if (list == answer::wait) return false;
    in_list_ = list == answer::yes;
    expect(in_list_ ? head_form::object : head_form::args);
    return true;
  }
  const auto call = take(marker::call, &marker_);
  if (call == answer::yes) return expect(head_form::deepseek), true;
  const auto end = take(marker::section_end);
  if (end != answer::yes && (call == answer::wait || end == answer::wait)) return false;
  if (end == answer::yes) marker_.clear();
  give_back(to); // nothing, after a call or at the end
  return true;
}

bool tool_call_parser::read_head(utterance& to) {
  auto head = head_->read(held_, ended_);
  if (head.how == call_head::verdict::wait) return false;
  const bool unknown = how_.format == tool_call_format::bare && how_.tools && !is_tool(*how_.tools, head.name);
  if (head.how == call_head::verdict::none || unknown) return give_back(to), true;
  held_.erase(0, head.size);
  form_ = head.form;
  begin_call(std::move(head.name), to);
  to.calls.back().arguments += head.arguments;
  span_ = json_span();
  scanned_ = 0;
  enter(head.how == call_head::verdict::open ? place::arguments : place::closing);
  return true;
}

void tool_call_parser::begin_call(std::string name, utterance& to) {
  to.calls.push_back({.index = num_calls_++, .id = new_call_id(how_.format), .name = std::move(name)});
  gap_.clear();
  marker_.clear();
  spoken_ = false;
  switch (how_.format) {
  case tool_call_format::tagged: closers_ = {marker::tool_call_end}; break;
  case tool_call_format::deepseek: closers_ = {marker::call_end, marker::fence}; break;
  default: closers_.clear();
  }
  if (form_ == head_form::function) closers_.push_back(marker::function_end);
}

bool tool_call_parser::pass_arguments(utterance& to) {
  if (held_.empty()) return false;
  std::size_t size = 0;
  bool closed = false;
  while (size < held_.size() && !closed) closed = span_.feed(held_[size++]);
  if (to.calls.empty()) to.calls.push_back({.index = num_calls_ - 1});
  to.calls.back().arguments.append(held_, 0, size);
  held_.erase(0, size);
  if (!closed) return false;
  span_ = json_span(1); // the object around the arguments
  enter(form_ == head_form::object ? place::object_end : place::closing);
  return true;
}

/// The brace that closes the call. Members may come before it; if it does not come, they are text.
bool tool_call_parser::end_object() {
  if (scanned_ == 0) {
    if (const auto brace = take("}"); brace == answer::wait)
      return false;
    else if (brace == answer::yes)
      return enter(place::closing), true;
    const auto first = held_.find_first_not_of(space);
    if (first == held_.npos || held_[first] != ',') return enter(place::closing), true;
  }
  while (scanned_ < held_.size())
    if (span_.feed(held_[scanned_++])) {
      held_.erase(0, scanned_);
      return enter(place::closing), true;
    }
  if (ended_) enter(place::text);
  return false;
}

bool tool_call_parser::close_call() {
  while (!closers_.empty()) {
    if (take(closers_.back()) == answer::wait) return false;
    closers_.pop_back();
  }
  done_ = how_.only_one;
  switch (how_.format) {
  case tool_call_format::deepseek: enter(place::section); break;
  case tool_call_format::bare: enter(place::list); break;
  case tool_call_format::bracketed: enter(in_list_ ? place::list : place::text); break;
  default: enter(place::text);
  }
  return true;
}

bool tool_call_parser::in_list() {
  const auto next = take(how_.format == tool_call_format::bare ? ";" : ",", &marker_);
  if (next == answer::wait) return false;
  if (next == answer::yes) return expect(head_form::object), true;
  plain_ = true;
  if (how_.format == tool_call_format::bracketed && take("]") == answer::wait) return false;
  enter(place::text);
  return true;
}

} // namespace quadrant::actors::http
