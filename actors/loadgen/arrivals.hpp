// actors/loadgen/arrivals.hpp: when requests come, as a pure function of a seed.
//
//   poisson   gaps are exponential: what many independent users make. Burstiness 1.
//   gamma     gaps are gamma with shape 1 / burstiness: the variance of a gap is burstiness × that of poisson;
//             above 1 requests come in clumps, below 1 more evenly
//   constant  every gap is 1 / rate
//   at_once   all at the start
// Units   ns since the start; rates in requests a second
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace quadrant::actors::loadgen {

enum class arrival_kind : std::uint8_t { poisson, gamma, constant, at_once };
std::string_view to_string(arrival_kind kind) noexcept;

struct arrivals {
  arrival_kind kind = arrival_kind::poisson;
  double rate = 1;       ///< above 0
  double burstiness = 1; ///< of gamma, above 0
};

/// `count` times, none before the one in front of it. The first request of any kind but at_once comes after a gap.
std::vector<std::int64_t> draw(const arrivals& how, std::size_t count, std::uint64_t seed);

} // namespace quadrant::actors::loadgen
