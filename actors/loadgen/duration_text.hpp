// actors/loadgen/duration_text.hpp: times as a user writes them: 500ms, 1.5s, 2m.
#pragma once
#include <cstdint>
#include <string_view>

#include "config/result.hpp"

namespace quadrant::actors::loadgen {

/// A number above 0 and us, ms, s, m or h; in nanoseconds, at most a year.
/// Errors  errc::invalid_argument
result<std::int64_t> parse_duration(std::string_view text);

} // namespace quadrant::actors::loadgen
