#include "actors/loadgen/picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "actors/loadgen/plot.hpp"
#include "actors/loadgen/report.hpp"

namespace quadrant::actors::loadgen {
namespace {

constexpr double width = 960, height = 600, margin = 24;
constexpr int curve_points = 160; // of a cumulative share: finer than the eye sees on 190 pixels
constexpr double stretches = 150; // at most, that a timeline is cut into
constexpr std::string_view blue = "#2563eb", green = "#059669", red = "#dc2626", amber = "#d97706", purple = "#7c3aed";

std::string text_of(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// ms, or s where the values are long: what a label is divided by, and its name.
struct time_unit {
  double ms;
  const char* name;
};
time_unit unit_for(double most_ms) { return most_ms >= 10'000 ? time_unit{1000, "s"} : time_unit{1, "ms"}; }

// ---- cumulative shares -------------------------------------------------------------------------------------------

struct mark {
  double percent, value_ms;
  std::string_view colour;
};
std::array<mark, 3> marks_of(const distribution& d) {
  return {{{50, d.p50, green}, {90, d.p90, amber}, {99, d.p99, purple}}};
}

/// The percentiles and the mean in the right lower corner, where few curves pass.
void draw_values(svg& to, const box& where, const distribution& d, const time_unit& unit) {
  const auto right = where.left + where.width;
  double row = where.top + where.height - 52;
  to.polygon({{right - 92, row - 13}, {right, row - 13}, {right, row + 49}, {right - 92, row + 49}}, "#ffffff", 0.9);
  const auto write = [&](const std::string& name, double value_ms) {
    to.text({right - 76, row}, name, {});
    to.text({right - 2, row}, rounded(value_ms / unit.ms), {.fill = "#0f172a", .anchor = "end", .bold = true});
    row += 15;
  };
  for (const auto& [percent, value_ms, colour] : marks_of(d)) {
    to.circle({right - 84, row - 4}, 4, colour);
    write(text_of("p%.0f", percent), value_ms);
  }
  write("mean", d.mean);
}

void draw_shares(svg& to, const box& where, metric m, const distribution& d, const std::vector<objective>& objectives,
                 bool first) {
  double limit_ms = 0;
  for (const auto& o : objectives)
    if (o.of == m) limit_ms = o.limit_ms;
  // Up to a little above p99: one value far out would press all others to the left. An objective is shown where it is near.
  double high_ms = d.sorted.empty() ? 1 : std::max(1e-3, std::min(d.max, d.p99 * 1.2) * 1.05);
  if (limit_ms > high_ms && limit_ms < 2.5 * high_ms) high_ms = limit_ms * 1.05;
  const auto unit = unit_for(high_ms);
  const double high = high_ms / unit.ms;
  plot p(to, where, {high, ticks(high, 4)}, {100, {0, 25, 50, 75, 100}, "%", first});
  p.frame(to_string(m), unit.name);
  if (d.sorted.empty()) return to.text(p.at(high / 2, 50), "no values", {.anchor = "middle"});

  if (limit_ms > 0 && limit_ms <= high_ms) {
    const auto x = limit_ms / unit.ms;
    to.line(p.at(x, 0), p.at(x, 100), {.stroke = red, .width = 1.5, .dashed = true});
  }
  draw_values(to, where, d, unit);
  std::vector<point> curve{p.at(d.sorted.front() / unit.ms, 0)};
  for (int i = 1; i <= curve_points; ++i) {
    const double percent = 100.0 * i / curve_points, value = percentile(d.sorted, percent);
    if (value > high_ms) break;
    curve.push_back(p.at(value / unit.ms, percent));
  }
  to.polyline(curve, {.stroke = blue, .width = 2});
  for (const auto& [percent, value, colour] : marks_of(d)) to.circle(p.at(value / unit.ms, percent), 4, colour);
}

// ---- time --------------------------------------------------------------------------------------------------------

/// Means over equal stretches of a run.
struct timeline {
  double step_s = 1;
  std::vector<double> in_flight, tokens_a_second;
  std::vector<double> failures_s; ///< when
};

timeline timeline_of(const run_record& run) {
  timeline t;
  const auto total_s = std::max(1e-3, double(run.duration_ns) * 1e-9);
  t.step_s = ticks(total_s, int(stretches))[1];
  const auto count = std::size_t(std::ceil(total_s / t.step_s));
  t.in_flight.assign(count, 0);
  t.tokens_a_second.assign(count, 0);
  const auto stretch_of = [&](double s) { return std::min(count - 1, std::size_t(std::max(0.0, s) / t.step_s)); };
  for (const auto& r : run.requests) {
    if (r.result == outcome::not_sent) continue;
    const double from = double(r.sent_ns) * 1e-9, to = double(r.ended_ns) * 1e-9;
    for (auto i = stretch_of(from); i <= stretch_of(to); ++i)
      t.in_flight[i] +=
          std::max(0.0, std::min(to, double(i + 1) * t.step_s) - std::max(from, double(i) * t.step_s)) / t.step_s;
    if (r.failed()) t.failures_s.push_back(to);
    if (r.chunks() == 0) continue;
    const double each = double(r.tokens()) / r.chunks() / t.step_s; // a piece may be several tokens
    double at = double(r.first_ns) * 1e-9;
    t.tokens_a_second[stretch_of(at)] += each;
    for (const auto gap : r.gaps_ms) t.tokens_a_second[stretch_of(at += double(gap) * 1e-3)] += each;
  }
  return t;
}

/// `values` as steps, filled to their axis.
void draw_steps(svg& to, const plot& p, double step, double end, const std::vector<double>& values,
                std::string_view colour) {
  std::vector<point> line;
  for (std::size_t i = 0; i < values.size(); ++i) {
    line.push_back(p.at(double(i) * step, values[i]));
    line.push_back(p.at(std::min(end, double(i + 1) * step), values[i]));
  }
  auto area = line;
  area.push_back(p.at(end, 0));
  area.push_back(p.at(0, 0));
  to.polygon(area, colour, 0.2);
  to.polyline(line, {.stroke = colour, .width = 1.5});
}

void draw_timeline(svg& to, double top, const run_record& run) {
  const auto t = timeline_of(run);
  const auto end_s = std::max(1e-3, double(run.duration_ns) * 1e-9);
  const auto unit = "means over " + text_of("%g s", t.step_s);
  constexpr double tall = 82;
  for (const auto& [title, values, colour, y] : {std::tuple("Requests under way", &t.in_flight, blue, top),
                                                 {"Tokens a second", &t.tokens_a_second, green, top + 142}}) {
    const auto high = std::max(1.0, 1.05 * *std::ranges::max_element(*values));
    plot p(to, {margin + 36, y, width - 2 * margin - 36, tall}, {end_s, ticks(end_s, 12), " s"},
           {high, ticks(high, 4)});
    p.frame(title, unit);
    draw_steps(to, p, t.step_s, end_s, *values, colour);
    if (values != &t.in_flight || t.failures_s.empty()) continue;
    auto marked = std::vector<bool>(std::size_t(width)); // one mark a pixel
    for (const auto s : t.failures_s) {
      const auto at = p.at(s, 0);
      if (marked[std::size_t(at.first)]) continue;
      marked[std::size_t(at.first)] = true;
      to.line({at.first, at.second - 10}, at, {.stroke = red, .width = 1.5});
    }
    to.line({margin + 190, y - 20}, {margin + 190, y - 10}, {.stroke = red, .width = 1.5});
    to.text({margin + 196, y - 10}, std::to_string(t.failures_s.size()) + " failed", {.fill = red});
  }
}

void draw_legend(svg& to, double y, const summary& s) {
  double x = margin + 36;
  to.line({x, y - 4}, {x + 18, y - 4}, {.stroke = blue, .width = 2});
  to.text({x + 24, y}, "share of values at or below", {});
  if (s.objectives.empty()) return;
  x += 206;
  to.line({x, y - 4}, {x + 18, y - 4}, {.stroke = red, .width = 1.5, .dashed = true});
  to.text({x + 24, y}, "objective", {});
}

} // namespace

std::string draw_picture(const run_record& run, const summary& s, const std::string& title, const std::string& detail) {
  svg to(width, height);
  to.text({margin, 32}, title, {.size = 17, .fill = "#0f172a", .bold = true});
  to.text({margin, 52}, detail, {.size = 12});
  constexpr double gap = 22, left = margin + 36;
  constexpr double each = (width - margin - left - 3 * gap) / 4;
  for (std::size_t i = 0; i < all_metrics.size(); ++i)
    draw_shares(to, {left + double(i) * (each + gap), 92, each, 180}, all_metrics[i], s[all_metrics[i]], s.objectives,
                i == 0);
  draw_legend(to, 312, s);
  draw_timeline(to, 350, run);
  return to.finish();
}

} // namespace quadrant::actors::loadgen
