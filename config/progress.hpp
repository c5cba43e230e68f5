// config/progress.hpp: how far something long is, as one line of a terminal that is written anew.
// Threads any
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quadrant::progress {

/// From now on reports are shown on stderr, if that is a terminal.
void show();
/// `done` of `total` in `unit`. The line goes when all is done.
void report(std::string_view what, std::uint64_t done, std::uint64_t total, std::string_view unit);

struct state {
  std::string what, unit;
  std::uint64_t done = 0, total = 0;
};
/// What was reported last, shown or not; nothing once all of it is done.
std::optional<state> now();

/// Takes the line away, so that another can be written.
void clear();

} // namespace quadrant::progress
