// actors/loadgen/plot.hpp: a rectangle with two axes, both from 0, on an svg.
//
//   title                unit
//   100 ┤        ╭──────────        values to pixels: at(x, y)
//    50 ┤    ╭───╯
//     0 ┼────┬─────┬─────┬──
//       0    10    20    30
#pragma once
#include <string_view>
#include <vector>

#include "actors/loadgen/svg.hpp"

namespace quadrant::actors::loadgen {

struct box {
  double left = 0, top = 0, width = 0, height = 0;
};

/// Round values from 0 to `high`, at most `most` of them behind the 0.
std::vector<double> ticks(double high, int most);

class plot {
public:
  struct axis {
    double high = 1;                ///< its last value; above 0
    std::vector<double> marks = {}; ///< where it is labelled
    std::string_view suffix = "";   ///< of each label
    bool labelled = true;
  };
  plot(svg& on, box where, axis x, axis y) : svg_(on), box_(where), x_(std::move(x)), y_(std::move(y)) {}

  void frame(std::string_view title, std::string_view unit);
  [[nodiscard]] point at(double x, double y) const;
  [[nodiscard]] const box& where() const noexcept { return box_; }

private:
  svg& svg_;
  box box_;
  axis x_, y_;
};

} // namespace quadrant::actors::loadgen
