#include "actors/loadgen/arrivals.hpp"

#include <algorithm>
#include <random>

namespace quadrant::actors::loadgen {

std::string_view to_string(arrival_kind kind) noexcept {
  switch (kind) {
  case arrival_kind::poisson: return "poisson";
  case arrival_kind::gamma: return "gamma";
  case arrival_kind::constant: return "constant";
  case arrival_kind::at_once: return "at-once";
  }
  return "";
}

std::vector<std::int64_t> draw(const arrivals& how, std::size_t count, std::uint64_t seed) {
  constexpr double latest_ns = 100 * 365 * 24 * 3600e9; // so that no sum leaves 64 bits
  std::mt19937_64 dice(seed);
  std::exponential_distribution<double> exponential(how.rate);
  std::gamma_distribution<double> gamma(1 / how.burstiness, how.burstiness / how.rate);
  const auto gap_s = [&] {
    switch (how.kind) {
    case arrival_kind::poisson: return exponential(dice);
    case arrival_kind::gamma: return gamma(dice);
    case arrival_kind::constant: return 1 / how.rate;
    case arrival_kind::at_once: break;
    }
    return 0.0;
  };
  std::vector<std::int64_t> times;
  times.reserve(count);
  double at_ns = 0;
  for (std::size_t i = 0; i < count; ++i) {
    at_ns = std::min(at_ns + gap_s() * 1e9, latest_ns);
    times.push_back(std::int64_t(at_ns));
  }
  return times;
}

} // namespace quadrant::actors::loadgen
