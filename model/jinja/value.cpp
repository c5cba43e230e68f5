#include "model/jinja/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "model/jinja/strings.hpp"
#include "model/text/utf8.hpp"

namespace quadrant::model::jinja {
namespace {

using nlohmann::json;

constexpr int max_depth = 100; ///< of lists in lists, wherever one is walked

std::string real_text(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  if (const auto size = std::abs(d); size < 1e15 || size >= 1e16) return json(d).dump();
  char digits[32]; // Python has an exponent from 1e16 on, the JSON library from 1e15
  const char* end = std::to_chars(digits, digits + sizeof digits, d, std::chars_format::fixed).ptr;
  const std::string text(digits, std::size_t(end - digits));
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

void append_repr(const value& v, marked_text& to, int depth);

/// \x00, \u2028 or \U000e0067
void append_escape(char32_t code, std::string& to) {
  char escape[16];
  const auto* form = code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(escape, sizeof escape, form, unsigned(code));
  to += escape;
}

/// 'like this', as Python writes a string inside a list.
void append_quoted(const std::string& text, marked_text& to) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t i = 0; i < text.size();) {
    const auto c = utf8::at(text, i);
    if (c.code == '\n')
      out += "\\n";
    else if (c.code == '\r')
      out += "\\r";
    else if (c.code == '\t')
      out += "\\t";
    else if (c.code == char32_t(quote) || c.code == '\\')
      (out += '\\') += char(c.code);
    else if (utf8::is_printable(c.code))
      out.append(text, i, c.size);
    else
      append_escape(c.code, out);
    i += c.size;
  }
  to.append(out + quote, false);
}

void append_repr(const value& v, marked_text& to, int depth) {
  if (depth > max_depth) return to.append("...", false);
  if (v.is_text()) return append_quoted(v.chars(), to);
  if (v.is_list()) {
    to.append("[", false);
    for (const char* gap = ""; const auto& item : v.as_list())
      to.append(gap, false), append_repr(item, to, depth + 1), gap = ", ";
    return to.append("]", false);
  }
  if (v.is_dict()) {
    to.append("{", false);
    for (const char* gap = ""; const auto& [key, item] : v.as_dict().entries()) {
      to.append(gap, false), append_repr(key, to, depth + 1), to.append(": ", false), append_repr(item, to, depth + 1);
      gap = ", ";
    }
    return to.append("}", false);
  }
  if (v.is_undefined()) return to.append("Undefined", false);
  to.append(v.str());
}

class json_writer {
public:
  explicit json_writer(const json_style& style) : style_(style) {}
  std::string out;

  result<void> write(const value& v, int depth) {
    if (depth > max_depth) return {errc::invalid_argument, "tojson: nested too deep"};
    if (out.size() > max_bytes) return too_long();
    if (v.is<std::nullptr_t>())
      out += "null";
    else if (const auto* b = v.get_if<bool>())
      out += *b ? "true" : "false";
    else if (const auto* i = v.get_if<std::int64_t>())
      out += std::to_string(*i);
    else if (const auto* d = v.get_if<double>())
      out += std::isfinite(*d) ? real_text(*d) : std::isnan(*d) ? "NaN" : *d > 0 ? "Infinity" : "-Infinity";
    else if (v.is_text())
      string(v.chars());
    else if (v.is_list())
      return sequence('[', ']', v.as_list(), depth, [&](const value& item) { return write(item, depth + 1); });
    else if (v.is_dict())
      return object(v.as_dict(), depth);
    else
      return {errc::invalid_argument, "tojson: " + std::string(v.type_name()) + " has no JSON form"};
    return {};
  }

private:
  void string(const std::string& text) {
    out += json(text).dump(-1, ' ', style_.ascii, json::error_handler_t::replace);
  }

  void line(int depth) {
    if (style_.indent >= 0) (out += '\n').append(std::size_t(style_.indent) * std::size_t(depth), ' ');
  }

  template <class Items, class Write>
  result<void> sequence(char open, char close, const Items& items, int depth, Write write_item) {
    out += open;
    for (bool first = true; const auto& item : items) {
      if (!first) out += style_.item_separator;
      first = false;
      line(depth + 1);
      QUADRANT_TRY_VOID(write_item(item));
    }
    if (!std::empty(items)) line(depth);
    out += close;
    return {};
  }

  result<void> object(const dict& d, int depth) {
    auto entries = d.entries();
    if (style_.sort_keys) std::ranges::stable_sort(entries, {}, [](const dict::entry& e) { return e.first.chars(); });
    return sequence('{', '}', entries, depth, [&](const dict::entry& e) {
      string(e.first.chars());
      out += style_.key_separator;
      return write(e.second, depth + 1);
    });
  }

  const json_style& style_;
};

bool equal_deep(const value& a, const value& b, int depth) {
  if (depth > max_depth) return false;
  if (a.is_number() && b.is_number()) {
    const auto *i = a.get_if<std::int64_t>(), *j = b.get_if<std::int64_t>();
    return i != nullptr && j != nullptr ? *i == *j : a.number() == b.number();
  }
  if (a.is_text() && b.is_text()) return a.chars() == b.chars();
  if (a.is_list() && b.is_list())
    return std::ranges::equal(a.as_list(), b.as_list(),
                              [&](const value& x, const value& y) { return equal_deep(x, y, depth + 1); });
  if (a.is_dict() && b.is_dict()) {
    const auto& other = b.as_dict();
    return a.as_dict().entries().size() == other.entries().size() &&
           std::ranges::all_of(a.as_dict().entries(), [&](const auto& e) {
             const auto* found = other.find(e.first.chars());
             return found != nullptr && equal_deep(e.second, *found, depth + 1);
           });
  }
  return (a.is_undefined() && b.is_undefined()) || (a.is<std::nullptr_t>() && b.is<std::nullptr_t>());
}

void add(extent& whole, const extent& part) {
  constexpr std::uint64_t enough = 1ull << 62;
  whole.depth = std::max(whole.depth, part.depth + 1);
  whole.weight = std::min(enough, whole.weight + std::min(enough, part.weight) + 2);
}

} // namespace

value value::items(list l) {
  extent size{.depth = 1};
  for (const auto& item : l) add(size, item.size());
  return storage(std::make_shared<const counted_list>(counted_list{std::move(l), size}));
}

value value::entries(dict d) { return storage(std::make_shared<const dict>(std::move(d))); }

result<value> value::from_json(const nlohmann::ordered_json& json, int depth) {
  using kind = nlohmann::ordered_json::value_t;
  if (depth > max_depth) return {errc::invalid_argument, "messages, tools or variables are nested too deep"};
  const auto untrusted = [](std::string_view chars) {
    std::string valid;
    utf8::append_valid(chars, valid);
    return text(valid, false);
  };
  switch (json.type()) {
  case kind::boolean: return boolean(json.get<bool>());
  case kind::number_integer: return integer(json.get<std::int64_t>());
  case kind::number_unsigned:
    return json.get<std::uint64_t>() <= std::uint64_t(INT64_MAX) ? integer(json.get<std::int64_t>())
                                                                 : real(json.get<double>());
  case kind::number_float: return real(json.get<double>());
  case kind::string: return untrusted(json.get_ref<const std::string&>());
  case kind::array: {
    list l;
    l.reserve(json.size());
    for (const auto& item : json) {
      QUADRANT_TRY(auto element, from_json(item, depth + 1));
      l.push_back(std::move(element));
    }
    return items(std::move(l));
  }
  case kind::object: {
    dict d;
    for (const auto& [key, item] : json.items()) {
      QUADRANT_TRY(auto element, from_json(item, depth + 1));
      d.set(untrusted(key), std::move(element));
    }
    return entries(std::move(d));
  }
  default: return none();
  }
}

bool value::truth() const {
  if (is_undefined() || is<std::nullptr_t>()) return false;
  if (is_number()) return number() != 0;
  if (is_text()) return !chars().empty();
  if (is_list()) return !as_list().empty();
  if (is_dict()) return !as_dict().entries().empty();
  return true;
}

double value::number() const {
  if (const auto* b = get_if<bool>()) return *b ? 1 : 0;
  if (const auto* i = get_if<std::int64_t>()) return double(*i);
  return get<double>();
}

std::string_view value::type_name() const noexcept {
  constexpr std::string_view names[] = {"undefined", "None", "bool",      "int",  "float",   "str",
                                        "list",      "dict", "namespace", "loop", "function"};
  return names[storage_.index()];
}

extent value::size() const noexcept {
  if (const auto* t = get_if<text_ref>()) return {.weight = 1 + (*t)->text.size()};
  if (const auto* l = get_if<list_ref>()) return (*l)->size;
  if (const auto* d = get_if<dict_ref>()) return (*d)->size();
  return {};
}

marked_text value::str() const {
  marked_text out;
  if (is_text()) return marked();
  if (is_undefined()) return out;
  if (is_list() || is_dict())
    append_repr(*this, out, 0);
  else if (is<std::nullptr_t>())
    out.append("None", false);
  else if (const auto* b = get_if<bool>())
    out.append(*b ? "True" : "False", false);
  else if (const auto* i = get_if<std::int64_t>())
    out.append(std::to_string(*i), false);
  else if (const auto* d = get_if<double>())
    out.append(real_text(*d), false);
  else
    out.append("<" + std::string(type_name()) + ">", false);
  return out;
}

void dict::set(value key, value v) {
  add(size_, key.size()), add(size_, v.size());
  const auto [place, fresh] = places_.try_emplace(key.chars(), entries_.size());
  if (fresh)
    entries_.emplace_back(std::move(key), std::move(v));
  else
    entries_[place->second].second = std::move(v);
}

const value* dict::find(std::string_view key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &entries_[found->second].second;
}

bool equal(const value& a, const value& b) { return equal_deep(a, b, 0); }

result<bool> less(const value& a, const value& b) {
  if (a.is_number() && b.is_number()) {
    const auto *i = a.get_if<std::int64_t>(), *j = b.get_if<std::int64_t>();
    return i != nullptr && j != nullptr ? *i < *j : a.number() < b.number();
  }
  if (a.is_text() && b.is_text()) return a.chars() < b.chars();
  return {errc::invalid_argument, "cannot order " + std::string(a.type_name()) + " and " + std::string(b.type_name())};
}

result<std::string> to_json(const value& v, const json_style& style) {
  json_writer writer(style);
  QUADRANT_TRY_VOID(writer.write(v, 0));
  return std::move(writer.out);
}

} // namespace quadrant::model::jinja
