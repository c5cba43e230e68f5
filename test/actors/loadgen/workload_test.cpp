#include <doctest/doctest.h>

#include "actors/loadgen/workload.hpp"

using namespace quadrant::actors::loadgen;

TEST_CASE("lengths are drawn from all of a range and from no more") {
  const auto w = draw(std::vector<std::int64_t>(2000), {5, 8}, {2, 2}, 1);
  int seen[4] = {};
  for (const auto& r : w.requests) {
    REQUIRE(r.input_tokens >= 5);
    REQUIRE(r.input_tokens <= 8);
    CHECK(r.output_tokens == 2);
    ++seen[r.input_tokens - 5];
  }
  for (const auto n : seen) CHECK(n > 400);
}

TEST_CASE("a trace can be made smaller and faster, and its blocks shrink with it") {
  workload w{.requests = {{2'000'000'000, 5120, 100, {1, 2}}, {4'000'000'000, 3, 3, {}}}};
  scale_lengths(w, 0.1);
  CHECK(w.block_tokens == 51);
  CHECK(w.requests[0].input_tokens == 512);
  CHECK(w.requests[0].output_tokens == 10);
  CHECK(w.requests[1].input_tokens == 1);
  speed_up(w, 4);
  CHECK(w.requests[0].at_ns == 500'000'000);
  CHECK(w.requests[1].at_ns == 1'000'000'000);
}

TEST_CASE("clipping holds each limit and counts whom it touched") {
  const workload all{.requests = {{0, 100, 10, {}}, {0, 50, 80, {}}, {0, 20, 5, {}}}};
  auto w = all;
  CHECK(clip(w, {}) == 0);
  CHECK(clip(w, {.input = 60, .output = 9}) == 2);
  CHECK(w.requests[0].input_tokens == 60);
  CHECK(w.requests[1].output_tokens == 9);
  w = all;
  CHECK(clip(w, {.together = 100}) == 2);
  for (const auto& r : w.requests) CHECK(r.input_tokens + r.output_tokens <= 100);
  CHECK(w.requests[1].input_tokens == 50);
}
