#include "actors/loadgen/duration_text.hpp"

#include <charconv>
#include <string>
#include <utility>

namespace quadrant::actors::loadgen {

result<std::int64_t> parse_duration(std::string_view text) {
  constexpr std::pair<std::string_view, double> units[] = {
      {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  constexpr double year_ns = 365 * 24 * 3600e9;
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = text.substr(std::size_t(end - text.data()));
  if (problem == std::errc{})
    for (const auto& [name, ns] : units)
      if (unit == name && number > 0 && number * ns <= year_ns) return std::int64_t(number * ns);
  return {errc::invalid_argument, "expected a time, like 500ms, 1.5s or 2m, not '" + std::string(text) + "'"};
}

} // namespace quadrant::actors::loadgen
