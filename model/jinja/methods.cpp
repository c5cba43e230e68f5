#include "model/jinja/access.hpp"
#include "model/jinja/filters.hpp"
#include "model/jinja/strings.hpp"

namespace quadrant::model::jinja {
namespace {

using method_function = result<value> (*)(const value&, const arguments&);

struct method_entry {
  std::string_view name;
  method_function apply;
};

template <bool Left, bool Right>
result<value> strip_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* set, with.optional_text(0, "chars"));
  return value::text(strip(v.marked(), set, Left, Right));
}

template <letter_case Case>
result<value> case_method(const value& v, const arguments&) {
  return value::text(in_case(v.marked(), Case));
}

value list_of(std::vector<marked_text> parts) {
  list out;
  out.reserve(parts.size());
  for (auto& part : parts) out.push_back(value::text(std::move(part)));
  return value::items(std::move(out));
}

result<value> split_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* separator, with.optional_text(0, "sep"));
  QUADRANT_TRY(const auto max_cuts, with.integer(1, "maxsplit", -1));
  QUADRANT_TRY(auto parts, split(v.marked(), separator, max_cuts));
  return list_of(std::move(parts));
}

/// rsplit with a separator: cuts from the right.
result<value> rsplit_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* separator, with.optional_text(0, "sep"));
  QUADRANT_TRY(const auto max_cuts, with.integer(1, "maxsplit", -1));
  if (max_cuts < 0) return split_method(v, with);
  if (separator == nullptr || separator->text.empty())
    return {errc::invalid_argument, "rsplit with maxsplit needs a separator"};
  std::vector<marked_text> parts;
  auto rest = v.marked();
  while (std::int64_t(parts.size()) < max_cuts) {
    const auto found = rest.text.rfind(separator->text);
    if (found == std::string::npos) break;
    parts.insert(parts.begin(), rest.part(found + separator->text.size(), rest.text.size()));
    rest = rest.part(0, found);
  }
  parts.insert(parts.begin(), std::move(rest));
  return list_of(std::move(parts));
}

result<value> splitlines_method(const value& v, const arguments&) {
  const auto& text = v.marked();
  std::vector<marked_text> lines;
  for (std::size_t begin = 0; begin < text.text.size();) {
    const auto end = std::min(text.text.find_first_of("\r\n", begin), text.text.size());
    lines.push_back(text.part(begin, end));
    begin = end + (text.text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return list_of(std::move(lines));
}

/// Does the text start (or end) with the argument, or with one of them where it is a list?
template <bool Start>
result<value> affix_method(const value& v, const arguments& with) {
  const auto* wanted = with.find(0, "prefix");
  if (wanted == nullptr) return {errc::invalid_argument, "argument 'prefix' is missing"};
  const auto options = wanted->is_list() ? wanted->as_list() : list{*wanted};
  for (const auto& o : options) {
    if (!o.is_text())
      return {errc::invalid_argument, "a str starts and ends with a str, not " + std::string(o.type_name())};
    if (Start ? v.chars().starts_with(o.chars()) : v.chars().ends_with(o.chars())) return value::boolean(true);
  }
  return value::boolean(false);
}

template <bool Start>
result<value> remove_affix_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* affix, with.text(0, "prefix"));
  const auto& text = v.marked();
  const auto size = text.text.size(), cut = affix->text.size();
  if (Start && text.text.starts_with(affix->text)) return value::text(text.part(cut, size));
  if (!Start && text.text.ends_with(affix->text)) return value::text(text.part(0, size - cut));
  return v;
}

result<value> replace_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* from, with.text(0, "old"));
  QUADRANT_TRY(const auto* to, with.text(1, "new"));
  QUADRANT_TRY(const auto count, with.integer(2, "count", -1));
  QUADRANT_TRY(auto out, replace(v.marked(), from->text, *to, count));
  return value::text(std::move(out));
}

result<value> join_method(const value& v, const arguments& with) {
  arguments gap;
  gap.positional.push_back(v);
  const auto* items = with.find(0, "iterable");
  if (items == nullptr) return {errc::invalid_argument, "argument 'iterable' is missing"};
  return apply_filter("join", *items, gap);
}

/// Characters before the first (or last) place where the argument stands; -1: nowhere.
template <bool First>
result<value> find_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* wanted, with.text(0, "sub"));
  const auto at = First ? v.chars().find(wanted->text) : v.chars().rfind(wanted->text);
  if (at == std::string::npos) return value::integer(-1);
  return value::integer(std::int64_t(count_characters(std::string_view(v.chars()).substr(0, at))));
}

result<value> count_method(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* wanted, with.text(0, "sub"));
  if (wanted->text.empty()) return value::integer(std::int64_t(count_characters(v.chars())) + 1);
  std::int64_t n = 0;
  for (auto at = v.chars().find(wanted->text); at != std::string::npos;
       at = v.chars().find(wanted->text, at + wanted->text.size()))
    ++n;
  return value::integer(n);
}

template <char Low, char High>
result<value> all_between(const value& v, const arguments&) {
  for (const char c : v.chars()) {
    const char folded = Low == 'a' ? char(c | 0x20) : c;
    if (folded < Low || folded > High) return value::boolean(false);
  }
  return value::boolean(!v.chars().empty());
}

constexpr method_entry string_methods[] = {
    {"split", split_method},
    {"rsplit", rsplit_method},
    {"splitlines", splitlines_method},
    {"strip", strip_method<true, true>},
    {"lstrip", strip_method<true, false>},
    {"rstrip", strip_method<false, true>},
    {"startswith", affix_method<true>},
    {"endswith", affix_method<false>},
    {"removeprefix", remove_affix_method<true>},
    {"removesuffix", remove_affix_method<false>},
    {"upper", case_method<letter_case::upper>},
    {"lower", case_method<letter_case::lower>},
    {"capitalize", case_method<letter_case::capitalised>},
    {"title", case_method<letter_case::title>},
    {"replace", replace_method},
    {"join", join_method},
    {"find", find_method<true>},
    {"rfind", find_method<false>},
    {"count", count_method},
    {"isdigit", all_between<'0', '9'>},
    {"isalpha", all_between<'a', 'z'>},
};

constexpr method_entry dict_methods[] = {
    {"items", [](const value& v, const arguments&) { return apply_filter("items", v, {}); }},
    {"keys", [](const value& v, const arguments&) { return members_of(v); }},
    {"values",
     [](const value& v, const arguments&) -> result<value> {
       list out;
       for (const auto& [key, item] : v.as_dict().entries()) out.push_back(item);
       return value::items(std::move(out));
     }},
    {"get",
     [](const value& v, const arguments& with) -> result<value> {
       const auto* key = with.find(0, "key");
       if (key == nullptr) return {errc::invalid_argument, "argument 'key' is missing"};
       const auto* found = key->is_text() ? v.as_dict().find(key->chars()) : nullptr;
       const auto* otherwise = with.find(1, "default");
       return found != nullptr ? *found : otherwise != nullptr ? *otherwise : value::none();
     }},
};

const method_entry* find_method_of(const value& subject, std::string_view name) {
  if (subject.is_text())
    for (const auto& m : string_methods)
      if (m.name == name) return &m;
  if (subject.is_dict())
    for (const auto& m : dict_methods)
      if (m.name == name) return &m;
  return nullptr;
}

} // namespace

bool is_method(const value& subject, std::string_view name) { return find_method_of(subject, name) != nullptr; }

result<value> apply_method(const value& subject, std::string_view name, const arguments& with) {
  const auto* m = find_method_of(subject, name);
  if (m == nullptr)
    return {errc::invalid_argument, std::string(subject.type_name()) + " has no method '" + std::string(name) + "'"};
  return m->apply(subject, with);
}

} // namespace quadrant::model::jinja
