// actors/loadgen/workload.hpp: which requests are sent when, and how long they are: the plan of a run.
//
//   a trace, or lengths + arrivals ─▶ workload ─ scaled, clipped ─▶ planned requests
// Units   tokens; ns since the start
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "actors/loadgen/trace.hpp"
#include "config/result.hpp"

namespace quadrant::actors::loadgen {

/// A length, or each from low to high as likely.
struct length_range {
  std::int32_t low = 1, high = 1;
};
/// "128" or "64:256". Errors  errc::invalid_argument
result<length_range> parse_length(std::string_view text);

struct workload {
  std::vector<trace_row> requests;                ///< in the order of their times
  std::int32_t block_tokens = trace_block_tokens; ///< of a block of theirs
};

/// `times.size()` requests with random lengths that share nothing.
workload draw(const std::vector<std::int64_t>& times, length_range input, length_range output, std::uint64_t seed);

/// Lengths × `factor`, those of blocks too: requests share what they shared.
void scale_lengths(workload& of, double factor);

/// The trace's gaps / `factor`.
void speed_up(workload& of, double factor);

/// What a server can take. A prompt that is too long loses its end.
struct length_limits {
  std::int32_t input = 0, output = 0; ///< 0: any
  std::int32_t together = 0;          ///< the positions of the model; 0: not known
};
/// Returns how many requests were made shorter.
std::size_t clip(workload& of, const length_limits& to);

} // namespace quadrant::actors::loadgen
