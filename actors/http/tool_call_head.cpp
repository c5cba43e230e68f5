#include "actors/http/tool_call_head.hpp"

#include <algorithm>
#include <optional>

#include "actors/http/request_fields.hpp"
#include "actors/http/tool_call_format.hpp"

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;
using verdict = call_head::verdict;

constexpr std::size_t max_head_bytes = 1024, max_spaces = 256;
constexpr std::string_view space = " \t\r\n";

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(space);
  if (begin == text.npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(space) - begin + 1));
}

/// What a cursor at the first brace of the arguments has found.
call_head open_head(const text_cursor& at, head_form form, std::string name) {
  if (at.now() == text_cursor::state::more) return {};
  if (!at.good() || name.empty()) return {.how = verdict::none};
  return {.how = verdict::open, .form = form, .name = std::move(name), .size = at.at()};
}

text_cursor head_cursor(std::string_view text, bool ended) {
  return {text.substr(0, max_head_bytes), !ended && text.size() < max_head_bytes};
}
void arguments_follow(text_cursor& at) {
  at.spaces();
  if (at.peek() != '{') at.refuse();
}

/// {"name": …, "arguments": …} in any order; the arguments an object, or its text.
call_head whole_object(std::string_view text, std::size_t size) {
  const auto parsed = parse_object(text);
  const auto* call = std::get_if<json>(&parsed);
  if (call == nullptr || !call->contains("name") || !call->at("name").is_string()) return {.how = verdict::none};
  const auto* key = call->contains("arguments") ? "arguments" : "parameters";
  auto arguments = call->value(key, json::object());
  if (arguments.is_string()) {
    auto inner = parse_object(arguments.get_ref<const std::string&>());
    if (auto* object = std::get_if<json>(&inner)) arguments = std::move(*object);
  }
  auto name = call->at("name").get<std::string>();
  if (!arguments.is_object() || name.empty()) return {.how = verdict::none};
  return {.how = verdict::whole,
          .form = head_form::object,
          .name = std::move(name),
          .arguments = arguments.dump(),
          .size = size};
}

/// Nothing where this is no object, or has no such member.
const json* member(const json* object, std::string_view key) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

/// Does the tool say that this argument is something else than text?
bool is_typed(const json& tools, std::string_view tool, const std::string& parameter) {
  const auto is_text = [](const json& type) { return type == "string"; };
  for (const auto& one : tools) {
    const auto* function = member(&one, "function");
    const auto* name = member(function, "name");
    if (name == nullptr || *name != tool) continue;
    const auto* type = member(member(member(member(function, "parameters"), "properties"), parameter), "type");
    if (type == nullptr) return false;
    return type->is_array() ? std::ranges::none_of(*type, is_text) : !is_text(*type);
  }
  return false;
}

json value_of(const json& tools, std::string_view tool, const std::string& parameter, std::string_view text) {
  if (is_typed(tools, tool, parameter)) {
    auto parsed = parse_object("{\"value\":" + std::string(text) + "}");
    if (auto* object = std::get_if<json>(&parsed); object != nullptr && object->size() == 1) return (*object)["value"];
  }
  return std::string(text);
}

/// <parameter=KEY>, a value, </parameter>; any number of them.
std::optional<json> parameters_of(std::string_view text, std::string_view tool, const json& tools) {
  auto arguments = json::object();
  text_cursor at(text, false);
  for (at.spaces(); at.at() < text.size(); at.spaces()) {
    at.word(marker::parameter);
    const auto key = std::string(at.before(">"));
    auto value = at.before(marker::parameter_end);
    if (!at.good()) return std::nullopt;
    if (value.starts_with('\n')) value.remove_prefix(1);
    if (value.ends_with('\n')) value.remove_suffix(1);
    arguments[key] = value_of(tools, tool, key, value);
  }
  return arguments;
}

} // namespace

// ---- walking -----------------------------------------------------------------------------------------------------

bool json_span::feed(char c) noexcept {
  if (quoted_) {
    if (escaped_)
      escaped_ = false;
    else if (c == '\\')
      escaped_ = true;
    else if (c == '"')
      quoted_ = false;
  } else if (c == '"') {
    quoted_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    return --depth_ <= 0;
  }
  return false;
}

void text_cursor::spaces() noexcept {
  if (!good()) return;
  const auto begin = at_;
  at_ = std::min(text_.find_first_not_of(space, at_), text_.size());
  if (at_ - begin > max_spaces) refuse();
}

void text_cursor::word(std::string_view expected) noexcept {
  if (!good()) return;
  const auto rest = text_.substr(at_);
  if (rest.starts_with(expected))
    at_ += expected.size();
  else
    state_ = may_grow_ && expected.starts_with(rest) ? state::more : state::bad;
}

void text_cursor::word(std::string_view expected, std::string_view or_this) noexcept {
  const auto before = *this;
  word(expected);
  if (state_ != state::bad || !before.good()) return;
  *this = before;
  word(or_this);
}

std::string_view text_cursor::before(std::string_view end) noexcept {
  if (!good()) return {};
  const auto found = text_.find(end, at_);
  if (found == text_.npos) {
    state_ = may_grow_ ? state::more : state::bad;
    return {};
  }
  const auto text = text_.substr(at_, found - at_);
  at_ = found + end.size();
  return text;
}

char text_cursor::peek() noexcept {
  if (!good()) return 0;
  if (at_ < text_.size()) return text_[at_];
  state_ = may_grow_ ? state::more : state::bad;
  return 0;
}

// ---- the forms ---------------------------------------------------------------------------------------------------

call_head tool_call_head::object(std::string_view text, bool ended) {
  auto at = head_cursor(text, ended);
  at.spaces();
  const auto begin = at.at();
  at.word("{");
  if (!at.good()) return open_head(at, head_form::object, {});
  if (scanned_ == 0) {
    for (const auto* word : {"\"name\"", ":", "\""}) at.spaces(), at.word(word);
    const auto name = at.before("\"");
    if (name.find('\\') != name.npos) at.refuse();
    at.spaces(), at.word(",");
    at.spaces(), at.word("\"arguments\"", "\"parameters\"");
    at.spaces(), at.word(":");
    arguments_follow(at);
    auto head = open_head(at, head_form::object, std::string(name));
    if (head.how != verdict::none) return head;
    scanned_ = begin;
  }
  for (; scanned_ < text.size(); ++scanned_)
    if (span_.feed(text[scanned_])) return whole_object(text.substr(begin, scanned_ + 1 - begin), scanned_ + 1);
  return {.how = ended ? verdict::none : verdict::wait};
}

call_head tool_call_head::function(std::string_view text, std::size_t from, bool ended) {
  const auto rest = text.substr(from);
  auto at = head_cursor(rest, ended);
  auto name = trimmed(at.before(">"));
  at.spaces();
  if (const char next = at.peek(); next != '<') {
    if (next != '{') at.refuse();
    auto head = open_head(at, head_form::function, std::move(name));
    head.size += from;
    return head;
  }
  const auto end = rest.find(marker::function_end, std::max(scanned_, at.at()));
  if (end == rest.npos) {
    scanned_ = rest.size() - std::min(rest.size(), marker::function_end.size());
    return {.how = ended ? verdict::none : verdict::wait};
  }
  const auto arguments = parameters_of(rest.substr(at.at(), end - at.at()), name, *tools_);
  if (!arguments || name.empty()) return {.how = verdict::none};
  return {.how = verdict::whole,
          .form = head_form::function,
          .name = std::move(name),
          .arguments = arguments->dump(),
          .size = from + end};
}

call_head tool_call_head::read(std::string_view text, bool ended) {
  auto at = head_cursor(text, ended);
  switch (form_) {
  case head_form::object: return object(text, ended);
  case head_form::function: return function(text, 0, ended);
  case head_form::object_or_tagged:
    at.spaces();
    if (at.peek() == '{') return object(text, ended);
    at.word(marker::function);
    return at.good() ? function(text, at.at(), ended) : open_head(at, head_form::function, {});
  case head_form::args: {
    const auto named = at.before(marker::args);
    arguments_follow(at);
    return open_head(at, head_form::args, trimmed(named.substr(0, named.find(marker::call_id))));
  }
  case head_form::deepseek: {
    auto name = trimmed(at.before(marker::separator));
    at.spaces();
    if (at.peek() != '{') {
      name = trimmed(at.before("\n"));
      at.spaces(), at.word(marker::fence), at.word("json");
      arguments_follow(at);
    }
    return open_head(at, head_form::deepseek, std::move(name));
  }
  }
  return {.how = verdict::none};
}

} // namespace quadrant::actors::http
