#include "model/jinja/access.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "model/jinja/strings.hpp"

namespace quadrant::model::jinja {
namespace {

value missing(std::string_view name) { return value::missing(std::string(name)); }

/// The item at `place`, which may count from the end.
value at_place(const list& items, std::int64_t place) {
  const auto size = std::int64_t(items.size());
  if (place < 0) place += size;
  return place >= 0 && place < size ? items[std::size_t(place)] : missing("item " + std::to_string(place));
}

value loop_attribute(const loop_state& loop, std::string_view name) {
  const auto& items = loop.items->items;
  const auto length = std::int64_t(items.size());
  if (name == "index") return value::integer(loop.index0 + 1);
  if (name == "index0") return value::integer(loop.index0);
  if (name == "revindex") return value::integer(length - loop.index0);
  if (name == "revindex0") return value::integer(length - loop.index0 - 1);
  if (name == "first") return value::boolean(loop.index0 == 0);
  if (name == "last") return value::boolean(loop.index0 + 1 == length);
  if (name == "length") return value::integer(length);
  if (name == "depth") return value::integer(1); // no loop is recursive
  if (name == "depth0") return value::integer(0);
  if (name == "previtem" && loop.index0 > 0) return items[std::size_t(loop.index0) - 1];
  if (name == "nextitem" && loop.index0 + 1 < length) return items[std::size_t(loop.index0) + 1];
  return missing("loop." + std::string(name));
}

result<std::optional<std::int64_t>> bound(const value& v) {
  if (v.is_undefined() || v.is<std::nullptr_t>()) return std::optional<std::int64_t>();
  if (const auto* i = v.get_if<std::int64_t>()) return std::optional(*i);
  return {errc::invalid_argument, "a slice's bounds are integers, not " + std::string(v.type_name())};
}

} // namespace

failure is_undefined(const value& v) {
  const auto* u = v.get_if<undefined>();
  return {errc::invalid_argument, "'" + (u == nullptr || u->name.empty() ? "value" : u->name) + "' is undefined"};
}

result<value> attribute_of(const value& object, std::string_view name) {
  if (object.is_undefined()) return is_undefined(object);
  if (object.is_dict()) {
    const auto* found = object.as_dict().find(name);
    return found != nullptr ? *found : missing(name);
  }
  if (const auto* space = object.get_if<name_space*>()) {
    const auto found = (*space)->entries.find(name);
    return found != (*space)->entries.end() ? found->second : missing(name);
  }
  if (const auto* loop = object.get_if<std::shared_ptr<const loop_state>>()) return loop_attribute(**loop, name);
  return missing(name);
}

result<value> attribute_path(const value& object, std::string_view path) {
  value at = object;
  while (true) {
    const auto dot = path.find('.');
    const auto name = path.substr(0, dot);
    std::int64_t place = 0;
    const auto number = std::from_chars(name.data(), name.data() + name.size(), place);
    if (!name.empty() && number.ec == std::errc() && number.ptr == name.data() + name.size() && at.is_list()) {
      at = at_place(at.as_list(), place);
    } else {
      QUADRANT_TRY(at, attribute_of(value(at), name));
    }
    if (dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
}

result<value> item_of(const value& object, const value& key) {
  if (object.is_undefined()) return is_undefined(object);
  if (key.is_text()) return attribute_of(object, key.chars());
  const auto* place = key.get_if<std::int64_t>();
  if (place == nullptr) return missing(key.str().text);
  if (object.is_list()) return at_place(object.as_list(), *place);
  if (object.is_text()) {
    const auto length = std::int64_t(count_characters(object.chars()));
    const auto at = *place < 0 ? *place + length : *place;
    if (at >= 0 && at < length) return value::text(slice_text(object.marked(), {at, 1, 1}));
  }
  return missing("item " + std::to_string(*place));
}

result<value> slice_of(const value& object, const value& begin, const value& end, const value& step) {
  if (object.is_undefined()) return is_undefined(object);
  if (!object.is_text() && !object.is_list())
    return {errc::invalid_argument, "cannot slice " + std::string(object.type_name())};
  QUADRANT_TRY(const auto from, bound(begin));
  QUADRANT_TRY(const auto to, bound(end));
  QUADRANT_TRY(const auto stride, bound(step));
  if (stride == 0) return {errc::invalid_argument, "a slice's step is 0"};
  QUADRANT_TRY(const auto length, length_of(object));
  const auto range = slice_range::of(length, from, to, stride.value_or(1));
  if (object.is_text()) return value::text(slice_text(object.marked(), range));
  list out;
  for (std::int64_t i = 0, place = range.begin; i < range.count; ++i) {
    out.push_back(object.as_list()[std::size_t(place)]);
    if (i + 1 < range.count) place += range.step;
  }
  return value::items(std::move(out));
}

result<value> members_of(const value& v) {
  if (v.is_list()) return v;
  list out;
  if (v.is_text()) {
    for (auto& c : characters(v.marked())) out.push_back(value::text(std::move(c)));
  } else if (v.is_dict()) {
    for (const auto& [key, item] : v.as_dict().entries()) out.push_back(key);
  } else if (!v.is_undefined())
    return {errc::invalid_argument, "cannot go over " + std::string(v.type_name())};
  return value::items(std::move(out));
}

result<std::int64_t> length_of(const value& v) {
  if (v.is_text()) return std::int64_t(count_characters(v.chars()));
  if (v.is_list()) return std::int64_t(v.as_list().size());
  if (v.is_dict()) return std::int64_t(v.as_dict().entries().size());
  if (v.is_undefined()) return std::int64_t(0);
  return {errc::invalid_argument, std::string(v.type_name()) + " has no length"};
}

result<bool> contains(const value& haystack, const value& needle) {
  if (haystack.is_text()) {
    if (needle.is_text()) return haystack.chars().find(needle.chars()) != std::string::npos;
    return {errc::invalid_argument, "a str holds no " + std::string(needle.type_name())};
  }
  if (haystack.is_dict()) return needle.is_text() && haystack.as_dict().find(needle.chars()) != nullptr;
  if (haystack.is_list())
    return std::ranges::any_of(haystack.as_list(), [&](const value& item) { return equal(item, needle); });
  if (haystack.is_undefined()) return false;
  return {errc::invalid_argument, "cannot look into " + std::string(haystack.type_name())};
}

} // namespace quadrant::model::jinja
