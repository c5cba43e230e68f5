// actors/loadgen/picture.hpp: a run as one picture: what share of the values lies below which, and how the run went.
//
//   TTFT      TPOT      ITL       E2E         cumulative shares, with p50, p90, p99 and the objectives
//   requests under way ────────────────       means of short stretches of time; failures are marks below
//   tokens a second ───────────────────
#pragma once
#include <string>

#include "actors/loadgen/summary.hpp"

namespace quadrant::actors::loadgen {

/// An SVG document. `title` and `detail` are its first two lines.
std::string draw_picture(const run_record& run, const summary& s, const std::string& title, const std::string& detail);

} // namespace quadrant::actors::loadgen
