#include <doctest/doctest.h>

#include "scheduler/prefill_planner.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;

TEST_CASE("a released prompt's blocks stay taken until its step in flight completes") {
  prefill_planner planner({.num_slots = 2, .micro_batch_tokens = 256, .chunk_tokens = 256}, 4);
  REQUIRE(planner.submit(1, 256).ok());
  const auto step = planner.plan();
  REQUIRE(step);
  planner.release(1);
  CHECK(planner.books().free == 0); // the device may still write there
  REQUIRE(planner.submit(2, 64).ok());
  CHECK_FALSE(planner.plan());
  planner.complete(step->step);
  CHECK(planner.books().free == 4);
  CHECK(planner.plan());
}

TEST_CASE("a halted prompt gets no further chunk, keeps its blocks, and lets those behind it go") {
  prefill_planner planner({.num_slots = 2, .micro_batch_tokens = 64, .chunk_tokens = 64}, 5);
  REQUIRE(planner.submit(1, 256).ok());
  REQUIRE(planner.submit(2, 64).ok());
  const auto first = planner.plan();
  REQUIRE(first);
  planner.halt(1);
  planner.halt(1), planner.halt(7); // again, and of nobody
  const auto next = planner.plan();
  REQUIRE(next);
  CHECK(next->chunks.at(0).request == 2);
  planner.complete(first->step);
  planner.complete(next->step);
  CHECK_FALSE(planner.plan());
  CHECK(planner.books().free == 0); // a shard may still send from there
  planner.release(1);
  planner.release(2);
  CHECK(planner.books().free == 5);
}

TEST_CASE("releasing the head of the line lets the next one go") {
  prefill_planner planner({.num_slots = 2, .micro_batch_tokens = 64, .chunk_tokens = 64}, 4);
  REQUIRE(planner.submit(1, 256).ok());
  REQUIRE(planner.submit(2, 64).ok());
  const auto first = planner.plan();
  REQUIRE(first);
  CHECK(first->chunks.at(0).request == 1);
  planner.complete(first->step);
  CHECK(planner.plan()->chunks.at(0).request == 1); // half planned, it comes first
  planner.complete(1);
  planner.release(1);
  const auto next = planner.plan();
  REQUIRE(next);
  CHECK(next->chunks.at(0).request == 2);
}

TEST_CASE("chunks smaller than the budget leave room for those who wait behind") {
  prefill_planner planner({.num_slots = 1, .micro_batch_tokens = 256, .chunk_tokens = 64}, 64);
  for (request_id id = 1; id <= 3; ++id) REQUIRE(planner.submit(id, 128).ok());
  const auto batch = planner.plan();
  REQUIRE(batch);
  CHECK(batch->chunks.size() == 3);
  for (const auto& c : batch->chunks) CHECK(c.num_tokens == 64);
}

TEST_CASE("a prompt that can never fit is refused with the numbers") {
  prefill_planner planner({}, 4);
  const auto refused = planner.submit(1, 257);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == errc::invalid_argument);
  CHECK(refused.error().message.find("257") != std::string::npos);
  CHECK_FALSE(planner.submit(2, 0).ok());
  CHECK(planner.waiting() == 0);
}

TEST_CASE("submitting a request again changes nothing") {
  prefill_planner planner({.num_slots = 4, .micro_batch_tokens = 64, .chunk_tokens = 64}, 4);
  REQUIRE(planner.submit(1, 100).ok());
  REQUIRE(planner.plan());
  REQUIRE(planner.submit(1, 100).ok());
  CHECK(planner.waiting() == 1);
  const auto rest = planner.plan();
  REQUIRE(rest);
  CHECK(rest->chunks.at(0).first_position == 64);
  CHECK(planner.waiting() == 0);
}
