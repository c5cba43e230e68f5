// model/jinja/calendar.hpp: a moment written as strftime writes it, in UTC and English.
// Errors  none: a letter that is not known stays as it is
// Threads any
#pragma once
#include <chrono>
#include <string>
#include <string_view>

namespace quadrant::model::jinja {

/// Knows %Y %y %m %d %e %H %I %M %S %f %p %j %A %a %B %b %F %T %Z %z %%, and %-d (no padding) of the numbers.
std::string format_time(std::string_view format, std::chrono::system_clock::time_point when);

} // namespace quadrant::model::jinja
