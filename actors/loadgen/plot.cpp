#include "actors/loadgen/plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace quadrant::actors::loadgen {
namespace {

std::string label(double value, std::string_view suffix) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text + std::string(suffix);
}

} // namespace

std::vector<double> ticks(double high, int most) {
  const double rough = high / std::max(1, most), power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double round : {1.0, 2.0, 2.5, 5.0})
    if (round * power >= rough * (1 - 1e-9)) {
      step = round * power;
      break;
    }
  std::vector<double> list;
  for (int i = 0; i * step <= high * (1 + 1e-9); ++i) list.push_back(i * step);
  return list;
}

point plot::at(double x, double y) const {
  return {box_.left + box_.width * std::clamp(x / x_.high, 0.0, 1.0),
          box_.top + box_.height * (1 - std::clamp(y / y_.high, 0.0, 1.0))};
}

void plot::frame(std::string_view title, std::string_view unit) {
  const auto right = box_.left + box_.width, bottom = box_.top + box_.height;
  svg_.text({box_.left, box_.top - 10}, title, {.size = 12, .fill = "#0f172a", .bold = true});
  svg_.text({right, box_.top - 10}, unit, {.anchor = "end"});
  for (const auto mark : y_.marks) {
    const auto y = at(0, mark).second;
    svg_.line({box_.left, y}, {right, y}, {});
    if (y_.labelled) svg_.text({box_.left - 6, y + 4}, label(mark, y_.suffix), {.anchor = "end"});
  }
  for (const auto mark : x_.marks) {
    const auto x = at(mark, 0).first;
    svg_.line({x, bottom}, {x, bottom + 4}, {.stroke = "#94a3b8"});
    if (x_.labelled) svg_.text({x, bottom + 16}, label(mark, x_.suffix), {.anchor = "middle"});
  }
  svg_.line({box_.left, bottom}, {right, bottom}, {.stroke = "#94a3b8"});
}

} // namespace quadrant::actors::loadgen
