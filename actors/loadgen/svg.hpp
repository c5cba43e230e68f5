// actors/loadgen/svg.hpp: writes the few shapes that a chart is made of. Lengths in pixels, y downwards.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quadrant::actors::loadgen {

using point = std::pair<double, double>;

/// How text is set; `anchor` is start, middle or end.
struct text_style {
  double size = 11;
  std::string_view fill = "#475569", anchor = "start";
  bool bold = false;
};

struct line_style {
  std::string_view stroke = "#e2e8f0";
  double width = 1;
  bool dashed = false;
};

class svg {
public:
  svg(double width, double height); ///< on white, whatever is behind it

  void line(point from, point to, const line_style& style);
  void polyline(const std::vector<point>& through, const line_style& style);
  void polygon(const std::vector<point>& around, std::string_view fill, double opacity);
  void circle(point at, double radius, std::string_view fill);
  void text(point at, std::string_view words, const text_style& style);

  /// The document; nothing is drawn afterwards.
  std::string finish();

private:
  void points(const std::vector<point>& list);
  void number(double value);

  std::string out_;
};

} // namespace quadrant::actors::loadgen
