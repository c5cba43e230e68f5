// model/jinja/functions.hpp: the functions of a template that need nothing of the rendering but the time.
// Errors  errc::invalid_argument, without the line
// Threads any
#pragma once
#include <chrono>
#include <string_view>

#include "config/result.hpp"
#include "model/jinja/filters.hpp"
#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

/// range, dict or strftime_now.
result<value> apply_function(std::string_view name, const arguments& with, std::chrono::system_clock::time_point now);

} // namespace quadrant::model::jinja
