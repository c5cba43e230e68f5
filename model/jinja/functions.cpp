#include "model/jinja/functions.hpp"

#include "model/jinja/calendar.hpp"

namespace quadrant::model::jinja {
namespace {

constexpr std::size_t max_numbers = 1'000'000; ///< of a range

result<value> range(const arguments& with) {
  std::int64_t bounds[3] = {0, 0, 1};
  const auto n = with.positional.size();
  if (n == 0 || n > 3) return {errc::invalid_argument, "range takes one to three integers"};
  for (std::size_t i = 0; i < n; ++i) {
    QUADRANT_TRY(bounds[n == 1 ? 1 : i], with.integer(i, "bound", 0));
  }
  const auto [begin, end, step] = bounds;
  if (step == 0) return {errc::invalid_argument, "range: the step is 0"};
  list items;
  for (auto i = begin; step > 0 ? i < end : i > end;) {
    if (items.size() >= max_numbers) return {errc::invalid_argument, "range: more than 1000000 numbers"};
    items.push_back(value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return value::items(std::move(items));
}

/// A dict, then named values.
result<value> new_dict(const arguments& with) {
  dict entries;
  if (!with.positional.empty()) {
    if (with.positional.size() > 1 || !with.positional[0].is_dict())
      return {errc::invalid_argument, "namespace and dict take one dict and named values"};
    entries = with.positional[0].as_dict();
  }
  for (const auto& [key, v] : with.named) entries.set(value::text(key, true), v);
  return value::entries(std::move(entries));
}

} // namespace

result<value> apply_function(std::string_view name, const arguments& with, std::chrono::system_clock::time_point now) {
  if (name == "range") return range(with);
  if (name == "dict") return new_dict(with);
  if (name == "strftime_now") {
    QUADRANT_TRY(const auto* format, with.text(0, "format"));
    return value::text(format_time(format->text, now), false);
  }
  return {errc::invalid_argument, "'" + std::string(name) + "' cannot be called from here"};
}

} // namespace quadrant::model::jinja
