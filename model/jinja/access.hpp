// model/jinja/access.hpp: what is inside a value: attributes, items, slices, members.
// Errors  errc::invalid_argument, without the line
// Threads any
#pragma once
#include <cstdint>
#include <string_view>

#include "config/result.hpp"
#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

/// "'x' is undefined"
failure is_undefined(const value& v);

/// object.name; undefined where there is none. Errors  the object itself is undefined
result<value> attribute_of(const value& object, std::string_view name);
/// "a.b.0" of a filter's attribute argument.
result<value> attribute_path(const value& object, std::string_view path);
/// object[key]; undefined where there is none. Errors  the object itself is undefined
result<value> item_of(const value& object, const value& key);
/// object[begin:end:step], each undefined or None where it was left out.
result<value> slice_of(const value& object, const value& begin, const value& end, const value& step);

/// What a loop goes over, as a list: items, keys or characters. Errors  nothing to go over
result<value> members_of(const value& v);
result<std::int64_t> length_of(const value& v);
/// needle in haystack
result<bool> contains(const value& haystack, const value& needle);

} // namespace quadrant::model::jinja
