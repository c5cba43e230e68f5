// model/jinja/filters.hpp: `subject | name(arguments)`, `subject is name(arguments)`, and methods of strings and dicts.
// Errors  errc::invalid_argument, without the line; unknown names that only the rendering sees too
// Threads any
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/result.hpp"
#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

struct arguments {
  std::vector<value> positional;
  std::vector<std::pair<std::string, value>> named;

  /// The argument at this place or of this name; null if it was not given.
  [[nodiscard]] const value* find(std::size_t place, std::string_view name) const;
  /// The same as an integer, a truth or a text. Errors  it is something else, or is not there and has no `fallback`
  [[nodiscard]] result<std::int64_t> integer(std::size_t place, std::string_view name, std::int64_t fallback) const;
  [[nodiscard]] bool truth(std::size_t place, std::string_view name, bool fallback) const;
  [[nodiscard]] result<const marked_text*> text(std::size_t place, std::string_view name) const;
  /// null if it was not given, or is None.
  [[nodiscard]] result<const marked_text*> optional_text(std::size_t place, std::string_view name) const;
  /// All but the first `n` positional ones.
  [[nodiscard]] arguments after(std::size_t n) const;
};

[[nodiscard]] bool is_filter(std::string_view name);
result<value> apply_filter(std::string_view name, const value& subject, const arguments& with);

[[nodiscard]] bool is_test(std::string_view name);
result<bool> apply_test(std::string_view name, const value& subject, const arguments& with);

[[nodiscard]] bool is_method(const value& subject, std::string_view name);
result<value> apply_method(const value& subject, std::string_view name, const arguments& with);

} // namespace quadrant::model::jinja
