#include <algorithm>
#include <cmath>
#include <numeric>

#include <doctest/doctest.h>

#include "actors/loadgen/arrivals.hpp"

using namespace quadrant::actors::loadgen;

namespace {

struct moments {
  double mean = 0, variance = 0;
};
moments gaps(const arrivals& how, std::uint64_t seed) {
  const auto times = draw(how, 40'000, seed);
  REQUIRE(std::ranges::is_sorted(times));
  REQUIRE(times.front() >= 0);
  std::vector<double> list;
  for (std::size_t i = 0; i < times.size(); ++i) list.push_back(double(times[i] - (i == 0 ? 0 : times[i - 1])) * 1e-9);
  moments m;
  m.mean = std::accumulate(list.begin(), list.end(), 0.0) / double(list.size());
  for (const auto g : list) m.variance += (g - m.mean) * (g - m.mean) / double(list.size());
  return m;
}

} // namespace

TEST_CASE(
    "poisson gaps have the mean of the rate, and as much deviation; what came before says nothing about the next") {
  for (const auto seed : {1u, 2u, 3u}) {
    const auto m = gaps({.kind = arrival_kind::poisson, .rate = 50}, seed);
    CHECK(m.mean == doctest::Approx(0.02).epsilon(0.03));
    CHECK(m.variance / (m.mean * m.mean) == doctest::Approx(1).epsilon(0.06));
    const auto times = draw({.kind = arrival_kind::poisson, .rate = 50}, 40'000, seed);
    double product = 0; // of each gap and the next, about the mean: their covariance
    for (std::size_t i = 2; i < times.size(); ++i)
      product +=
          (double(times[i] - times[i - 1]) * 1e-9 - m.mean) * (double(times[i - 1] - times[i - 2]) * 1e-9 - m.mean);
    CHECK(std::abs(product / double(times.size())) < 0.03 * m.variance);
  }
}

TEST_CASE("the variance of gamma gaps is burstiness times that of poisson") {
  for (const double burstiness : {0.25, 1.0, 4.0, 10.0}) {
    const auto m = gaps({.kind = arrival_kind::gamma, .rate = 8, .burstiness = burstiness}, 5);
    CHECK(m.mean == doctest::Approx(0.125).epsilon(0.05));
    CHECK(m.variance / (m.mean * m.mean) == doctest::Approx(burstiness).epsilon(0.1));
  }
}

TEST_CASE("constant arrivals are a clock, and at-once is once") {
  const auto times = draw({.kind = arrival_kind::constant, .rate = 4}, 8, 1);
  for (std::size_t i = 0; i < times.size(); ++i) CHECK(times[i] == std::int64_t(i + 1) * 250'000'000);
  CHECK(draw({.kind = arrival_kind::at_once}, 3, 1) == std::vector<std::int64_t>{0, 0, 0});
}

TEST_CASE("a seed is a schedule, and the slowest rate stays within the clock") {
  const arrivals how{.kind = arrival_kind::gamma, .rate = 3, .burstiness = 2};
  CHECK(draw(how, 100, 7) == draw(how, 100, 7));
  CHECK(draw(how, 100, 7) != draw(how, 100, 8));
  CHECK(std::ranges::is_sorted(draw({.kind = arrival_kind::constant, .rate = 1e-6}, 100'000, 1)));
}
