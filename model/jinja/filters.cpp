#include "model/jinja/filters.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "model/jinja/access.hpp"
#include "model/jinja/operators.hpp"
#include "model/jinja/strings.hpp"

namespace quadrant::model::jinja {
namespace {

constexpr int max_nested = 8; ///< of filters that apply filters: map('map', 'map', ...)

using filter_function = result<value> (*)(const value&, const arguments&, int nested);

result<value> apply_nested(std::string_view name, const value& subject, const arguments& with, int nested);

struct filter_entry {
  std::string_view name;
  filter_function apply;
};

result<value> text_result(result<marked_text> text) {
  if (!text) return std::move(text).error();
  return value::text(std::move(text).value());
}

// Texts

template <letter_case Case>
result<value> case_filter(const value& v, const arguments&, int) {
  return value::text(in_case(v.str(), Case));
}

result<value> trim(const value& v, const arguments& with, int) {
  QUADRANT_TRY(const auto* set, with.optional_text(0, "chars"));
  return value::text(strip(v.str(), set, true, true));
}

result<value> string(const value& v, const arguments&, int) { return v.is_text() ? v : value::text(v.str()); }
result<value> unchanged(const value& v, const arguments&, int) { return v; }
result<value> escape(const value& v, const arguments&, int) { return text_result(escape_html(v.str())); }

result<value> replace_filter(const value& v, const arguments& with, int) {
  QUADRANT_TRY(const auto* from, with.text(0, "old"));
  QUADRANT_TRY(const auto* to, with.text(1, "new"));
  QUADRANT_TRY(const auto count, with.integer(2, "count", -1));
  return text_result(replace(v.str(), from->text, *to, count));
}

result<value> indent_filter(const value& v, const arguments& with, int) {
  const auto first = with.truth(1, "first", false), blank = with.truth(2, "blank", false);
  if (const auto* width = with.find(0, "width"); width != nullptr && width->is_text())
    return {errc::invalid_argument, "indent: the width is a number of spaces"};
  QUADRANT_TRY(const auto width, with.integer(0, "width", 4));
  return text_result(indent(v.str(), width, first, blank));
}

result<value> join_filter(const value& v, const arguments& with, int) {
  const auto* gap = with.find(0, "d");
  QUADRANT_TRY(const auto* attribute, with.optional_text(1, "attribute"));
  QUADRANT_TRY(const auto members, members_of(v));
  std::vector<marked_text> parts;
  for (const auto& item : members.as_list()) {
    if (attribute == nullptr) {
      parts.push_back(item.str());
    } else {
      QUADRANT_TRY(const auto inner, attribute_path(item, attribute->text));
      parts.push_back(inner.str());
    }
  }
  return text_result(join(parts, gap == nullptr ? marked_text() : gap->str()));
}

result<value> tojson(const value& v, const arguments& with, int) {
  json_style style;
  style.ascii = with.truth(0, "ensure_ascii", false);
  // Jinja2's own filter has the indent first; chat templates name it.
  const bool positional_indent = !with.positional.empty() && with.positional[0].is<std::int64_t>();
  QUADRANT_TRY(const auto indent, with.integer(positional_indent ? 0 : 1, "indent", -1));
  if (indent > 100) return {errc::invalid_argument, "tojson: the indent is above 100"};
  if (positional_indent) style.ascii = false;
  style.indent = int(std::max<std::int64_t>(indent, -1));
  if (style.indent >= 0) style.item_separator = ",";
  style.sort_keys = with.truth(3, "sort_keys", false);
  if (const auto* separators = with.find(2, "separators"); separators != nullptr && separators->is_list()) {
    const auto& pair = separators->as_list();
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text())
      return {errc::invalid_argument, "tojson: separators are two texts"};
    style.item_separator = pair[0].chars(), style.key_separator = pair[1].chars();
  }
  QUADRANT_TRY(const auto text, to_json(v, style));
  if (text.size() > max_bytes) return too_long();
  return value::text(text, false);
}

// Numbers

std::optional<double> as_real(const value& v) {
  if (v.is_number()) return v.number();
  if (!v.is_text()) return std::nullopt;
  const auto text = strip(v.marked(), nullptr, true, true).text;
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  double out = 0;
  const auto read = std::from_chars(begin, text.data() + text.size(), out);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() ? std::optional(out) : std::nullopt;
}

result<value> to_int(const value& v, const arguments& with, int) {
  const auto* given = with.find(0, "default");
  const auto otherwise = given != nullptr ? *given : value::integer(0);
  QUADRANT_TRY(const auto base, with.integer(1, "base", 10));
  if (base < 2 || base > 36) return {errc::invalid_argument, "int: the base is not in 2 to 36"};
  if (v.is<std::int64_t>()) return v;
  if (v.is_text()) {
    const auto text = strip(v.marked(), nullptr, true, true).text;
    const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
    std::int64_t out = 0;
    const auto read = std::from_chars(begin, text.data() + text.size(), out, int(base));
    if (read.ec == std::errc() && read.ptr == text.data() + text.size()) return value::integer(out);
  }
  const auto real = as_real(v);
  if (!real || !(std::abs(*real) < 9.2e18)) return otherwise;
  return value::integer(std::int64_t(*real));
}

result<value> to_float(const value& v, const arguments& with, int) {
  const auto* otherwise = with.find(0, "default");
  if (const auto real = as_real(v)) return value::real(*real);
  return otherwise != nullptr ? *otherwise : value::real(0);
}

result<value> absolute(const value& v, const arguments&, int) {
  if (!v.is_number()) return {errc::invalid_argument, "abs: " + std::string(v.type_name()) + " is no number"};
  return v.number() < 0 ? apply_sign("-", v) : apply_sign("+", v);
}

result<value> round_filter(const value& v, const arguments& with, int) {
  if (!v.is_number()) return {errc::invalid_argument, "round: " + std::string(v.type_name()) + " is no number"};
  QUADRANT_TRY(const auto precision, with.integer(0, "precision", 0));
  QUADRANT_TRY(const auto* method, with.optional_text(1, "method"));
  if (precision < -15 || precision > 15) return {errc::invalid_argument, "round: the precision is not in -15 to 15"};
  double scale = 1;
  for (std::int64_t i = 0; i < std::abs(precision); ++i) scale *= 10;
  const double scaled = precision < 0 ? v.number() / scale : v.number() * scale;
  const auto how = method == nullptr ? std::string_view("common") : std::string_view(method->text);
  if (how != "common" && how != "ceil" && how != "floor")
    return {errc::invalid_argument, "round: the method is common, ceil or floor"};
  const double whole = how == "common" ? std::nearbyint(scaled)
                       : how == "ceil" ? std::ceil(scaled)
                                       : std::floor(scaled);
  return value::real(precision < 0 ? whole * scale : whole / scale);
}

// Lists

result<value> length(const value& v, const arguments&, int) {
  QUADRANT_TRY(const auto n, length_of(v));
  return value::integer(n);
}

result<value> to_list(const value& v, const arguments&, int) { return members_of(v); }

template <bool First>
result<value> end_item(const value& v, const arguments&, int) {
  QUADRANT_TRY(const auto members, members_of(v));
  const auto& items = members.as_list();
  if (items.empty()) return value::missing(First ? "first item" : "last item");
  return First ? items.front() : items.back();
}

result<value> reverse(const value& v, const arguments&, int) {
  if (v.is_text()) return slice_of(v, {}, {}, value::integer(-1));
  QUADRANT_TRY(const auto members, members_of(v));
  return slice_of(members, {}, {}, value::integer(-1));
}

result<value> items(const value& v, const arguments&, int) {
  if (v.is_undefined()) return value::items({});
  if (!v.is_dict()) return {errc::invalid_argument, "items: " + std::string(v.type_name()) + " is no dict"};
  list out;
  for (const auto& [key, item] : v.as_dict().entries()) out.push_back(value::items({key, item}));
  return value::items(std::move(out));
}

result<value> map(const value& v, const arguments& with, int nested) {
  QUADRANT_TRY(const auto members, members_of(v));
  const auto* attribute = with.find(SIZE_MAX, "attribute");
  const auto* otherwise = with.find(SIZE_MAX, "default");
  list out;
  if (attribute != nullptr) {
    if (!attribute->is_text()) return {errc::invalid_argument, "map: the attribute is a str"};
    for (const auto& item : members.as_list()) {
      QUADRANT_TRY(auto inner, attribute_path(item, attribute->chars()));
      if (inner.is_undefined() && otherwise != nullptr) inner = *otherwise;
      out.push_back(std::move(inner));
    }
    return value::items(std::move(out));
  }
  QUADRANT_TRY(const auto* name, with.text(0, "filter"));
  const auto rest = with.after(1);
  for (const auto& item : members.as_list()) {
    QUADRANT_TRY(auto mapped, apply_nested(name->text, item, rest, nested + 1));
    out.push_back(std::move(mapped));
  }
  return value::items(std::move(out));
}

/// select, reject, selectattr, rejectattr
template <bool Keep, bool ByAttribute>
result<value> choose(const value& v, const arguments& with, int) {
  QUADRANT_TRY(const auto members, members_of(v));
  const marked_text* attribute = nullptr;
  if (ByAttribute) {
    QUADRANT_TRY(attribute, with.text(0, "attribute"));
  }
  constexpr std::size_t test_place = ByAttribute ? 1 : 0;
  QUADRANT_TRY(const auto* test, with.optional_text(test_place, "test"));
  const auto rest = with.after(test_place + 1);
  list out;
  for (const auto& item : members.as_list()) {
    value subject = item;
    if (ByAttribute) {
      QUADRANT_TRY(subject, attribute_path(item, attribute->text));
    }
    bool holds = subject.truth();
    if (test != nullptr) {
      QUADRANT_TRY(holds, apply_test(test->text, subject, rest));
    }
    if (holds == Keep) out.push_back(item);
  }
  return value::items(std::move(out));
}

struct keyed {
  value key, item;
};

/// Each member beside what it is ordered by: itself or its attribute, texts in lower case unless case_sensitive.
result<std::vector<keyed>> keys_of(const value& v, const arguments& with, std::size_t attribute_place,
                                   bool case_sensitive) {
  QUADRANT_TRY(const auto members, members_of(v));
  QUADRANT_TRY(const auto* attribute, with.optional_text(attribute_place, "attribute"));
  std::vector<keyed> out;
  for (const auto& item : members.as_list()) {
    value key = item;
    if (attribute != nullptr) {
      QUADRANT_TRY(key, attribute_path(item, attribute->text));
    }
    if (key.is_text() && !case_sensitive) key = value::text(in_case(key.marked(), letter_case::lower));
    out.push_back({std::move(key), item});
  }
  return out;
}

result<void> sort_keyed(std::vector<keyed>& of, bool reversed) {
  std::optional<failure> wrong;
  const auto before = [&](const keyed& a, const keyed& b) {
    if (wrong) return false;
    auto below = reversed ? less(b.key, a.key) : less(a.key, b.key);
    if (!below) return wrong = std::move(below).error(), false;
    return *below;
  };
  std::ranges::stable_sort(of, before);
  if (wrong) return *wrong;
  return {};
}

result<value> sort(const value& v, const arguments& with, int) {
  QUADRANT_TRY(auto sorted, keys_of(v, with, 2, with.truth(1, "case_sensitive", false)));
  QUADRANT_TRY_VOID(sort_keyed(sorted, with.truth(0, "reverse", false)));
  list out;
  for (auto& k : sorted) out.push_back(std::move(k.item));
  return value::items(std::move(out));
}

result<value> dictsort(const value& v, const arguments& with, int) {
  QUADRANT_TRY(const auto pairs, items(v, {}, 0));
  QUADRANT_TRY(const auto* by, with.optional_text(1, "by"));
  arguments order;
  order.positional = {value::text(by != nullptr && by->text == "value" ? "1" : "0", true)};
  QUADRANT_TRY(auto sorted, keys_of(pairs, order, 0, with.truth(0, "case_sensitive", false)));
  QUADRANT_TRY_VOID(sort_keyed(sorted, with.truth(2, "reverse", false)));
  list out;
  for (auto& k : sorted) out.push_back(std::move(k.item));
  return value::items(std::move(out));
}

template <bool Lowest>
result<value> extreme(const value& v, const arguments& with, int) {
  QUADRANT_TRY(auto sorted, keys_of(v, with, 1, with.truth(0, "case_sensitive", false)));
  QUADRANT_TRY_VOID(sort_keyed(sorted, !Lowest));
  if (sorted.empty()) return value::missing(Lowest ? "minimum" : "maximum");
  return sorted.front().item;
}

result<value> unique(const value& v, const arguments& with, int) {
  QUADRANT_TRY(const auto keys, keys_of(v, with, 1, with.truth(0, "case_sensitive", false)));
  if (keys.size() > 4096) return {errc::invalid_argument, "unique: more than 4096 items"}; // it compares all pairs
  list out;
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (std::none_of(keys.begin(), keys.begin() + std::ptrdiff_t(i),
                     [&](const keyed& earlier) { return equal(earlier.key, keys[i].key); }))
      out.push_back(keys[i].item);
  return value::items(std::move(out));
}

result<value> sum(const value& v, const arguments& with, int) {
  QUADRANT_TRY(const auto keys, keys_of(v, with, 0, true));
  const auto* start = with.find(1, "start");
  value total = start != nullptr ? *start : value::integer(0);
  for (const auto& k : keys) {
    if (!k.key.is_number()) return {errc::invalid_argument, "sum: " + std::string(k.key.type_name()) + " is no number"};
    QUADRANT_TRY(total, apply_binary("+", value(total), k.key));
  }
  return total;
}

result<value> default_filter(const value& v, const arguments& with, int) {
  const auto* otherwise = with.find(0, "default_value");
  const bool falsy_too = with.truth(1, "boolean", false);
  if (!v.is_undefined() && (!falsy_too || v.truth())) return v;
  return otherwise != nullptr ? *otherwise : value::text("", true);
}

constexpr filter_entry filters[] = {
    {"abs", absolute},
    {"capitalize", case_filter<letter_case::capitalised>},
    {"count", length},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", end_item<true>},
    {"float", to_float},
    {"indent", indent_filter},
    {"int", to_int},
    {"items", items},
    {"join", join_filter},
    {"last", end_item<false>},
    {"length", length},
    {"list", to_list},
    {"lower", case_filter<letter_case::lower>},
    {"map", map},
    {"max", extreme<false>},
    {"min", extreme<true>},
    {"reject", choose<false, false>},
    {"rejectattr", choose<false, true>},
    {"replace", replace_filter},
    {"reverse", reverse},
    {"round", round_filter},
    {"safe", unchanged},
    {"select", choose<true, false>},
    {"selectattr", choose<true, true>},
    {"sort", sort},
    {"string", string},
    {"sum", sum},
    {"title", case_filter<letter_case::title>},
    {"tojson", tojson},
    {"trim", trim},
    {"unique", unique},
    {"upper", case_filter<letter_case::upper>},
};

const filter_entry* find_filter(std::string_view name) {
  const auto found = std::ranges::lower_bound(filters, name, {}, &filter_entry::name);
  return found != std::end(filters) && found->name == name ? found : nullptr;
}

result<value> apply_nested(std::string_view name, const value& subject, const arguments& with, int nested) {
  const auto* f = find_filter(name);
  if (f == nullptr) return {errc::invalid_argument, "filter '" + std::string(name) + "' is not supported"};
  if (nested > max_nested) return {errc::invalid_argument, "filters apply filters too deep"};
  return f->apply(subject, with, nested);
}

} // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

result<value> apply_filter(std::string_view name, const value& subject, const arguments& with) {
  return apply_nested(name, subject, with, 0);
}

} // namespace quadrant::model::jinja
