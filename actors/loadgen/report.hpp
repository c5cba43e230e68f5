// actors/loadgen/report.hpp: a summary as a table for people and as JSON for programs; the records as JSON lines.
#pragma once
#include <string>

#include <nlohmann/json.hpp>

#include "actors/loadgen/summary.hpp"

namespace quadrant::actors::loadgen {

/// Four significant digits, and none behind the point from 1,000 on.
std::string rounded(double value);

/// Lines of a terminal, with what makes the numbers doubtful at their end.
std::string to_table(const summary& s);

/// The fields of the document are listed in README.md. `settings` goes in as it is.
nlohmann::ordered_json to_json(const summary& s, nlohmann::ordered_json settings);

/// One request as one line without its end.
std::string to_json_line(const request_record& r, std::size_t index, const std::vector<objective>& objectives);

} // namespace quadrant::actors::loadgen
