#include <doctest/doctest.h>

#include "scheduler/prefill_planner.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;

namespace {

/// Of tokens that no other prompt has.
prefill_prompt prompt(request_id id, std::int32_t size) {
  return {.id = id, .tokens = std::vector<std::int32_t>(std::size_t(size), std::int32_t(id))};
}
/// Tokens first, first + 1, ...
prefill_prompt counting(request_id id, std::int32_t size, std::int32_t first = 0) {
  auto p = prompt(id, size);
  for (auto& token : p.tokens) token = first++;
  return p;
}

} // namespace

TEST_CASE("a released prompt's blocks stay taken until its step in flight completes") {
  prefill_planner planner({.num_slots = 2, .micro_batch_tokens = 256, .chunk_tokens = 256}, 4);
  REQUIRE(planner.submit(prompt(1, 256)).ok());
  const auto step = planner.plan();
  REQUIRE(step);
  planner.release(1);
  CHECK(planner.books().free == 0); // the device may still write there
  REQUIRE(planner.submit(prompt(2, 64)).ok());
  CHECK_FALSE(planner.plan());
  planner.complete(step->step);
  CHECK(planner.books().used == 0);
  CHECK(planner.plan());
}

TEST_CASE("a halted prompt gets no further chunk, keeps its blocks, and lets those behind it go") {
  prefill_planner planner({.num_slots = 2, .micro_batch_tokens = 64, .chunk_tokens = 64}, 5);
  REQUIRE(planner.submit(prompt(1, 256)).ok());
  REQUIRE(planner.submit(prompt(2, 64)).ok());
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
  CHECK(planner.books().used == 0);
}

TEST_CASE("releasing the head of the line lets the next one go") {
  prefill_planner planner({.num_slots = 2, .micro_batch_tokens = 64, .chunk_tokens = 64}, 4);
  REQUIRE(planner.submit(prompt(1, 256)).ok());
  REQUIRE(planner.submit(prompt(2, 64)).ok());
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
  for (request_id id = 1; id <= 3; ++id) REQUIRE(planner.submit(prompt(id, 128)).ok());
  const auto batch = planner.plan();
  REQUIRE(batch);
  CHECK(batch->chunks.size() == 3);
  for (const auto& c : batch->chunks) CHECK(c.num_tokens == 64);
}

TEST_CASE("a prompt that can never fit is refused with the numbers") {
  prefill_planner planner({}, 4);
  const auto refused = planner.submit(prompt(1, 257));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == errc::invalid_argument);
  CHECK(refused.error().message.find("257") != std::string::npos);
  CHECK_FALSE(planner.submit(prompt(2, 0)).ok());
  CHECK(planner.waiting() == 0);
}

TEST_CASE("submitting a request again changes nothing") {
  prefill_planner planner({.num_slots = 4, .micro_batch_tokens = 64, .chunk_tokens = 64}, 4);
  REQUIRE(planner.submit(prompt(1, 100)).ok());
  REQUIRE(planner.plan());
  REQUIRE(planner.submit(prompt(1, 100)).ok());
  CHECK(planner.waiting() == 1);
  const auto rest = planner.plan();
  REQUIRE(rest);
  CHECK(rest->chunks.at(0).first_position == 64);
  CHECK(planner.waiting() == 0);
}

TEST_CASE("a prompt begins with the blocks of one that began alike, from the step on that fills them") {
  prefill_planner planner({.num_slots = 4, .micro_batch_tokens = 256, .chunk_tokens = 128}, 16);
  REQUIRE(planner.submit(counting(1, 200)).ok());
  REQUIRE(planner.submit(counting(2, 200)).ok()); // of the same micro-batch
  const auto batch = planner.plan();
  REQUIRE(batch);
  REQUIRE(batch->chunks.size() == 2);
  const auto &one = batch->chunks[0], &two = batch->chunks[1];
  CHECK(one.cached_tokens == 0);
  CHECK(one.first);
  CHECK(two.cached_tokens == 128);
  CHECK(two.first_position == 128);
  CHECK(two.first);
  CHECK(two.last);
  CHECK(std::equal(one.blocks.begin(), one.blocks.begin() + 2, two.blocks.begin()));
  planner.complete(batch->step);
  planner.release(1);
  planner.release(2);
  CHECK(planner.books().used == 0);
  CHECK(planner.books().cached > 0);

  auto other = counting(3, 200);
  other.tokens[70] = 9999;
  REQUIRE(planner.submit(other).ok());
  CHECK(planner.plan()->chunks.at(0).cached_tokens == 64);
}

TEST_CASE("at least one token is computed, and all where all logits are wanted") {
  prefill_planner planner({.num_slots = 8, .micro_batch_tokens = 256, .chunk_tokens = 256}, 16);
  REQUIRE(planner.submit(counting(1, 128)).ok());
  REQUIRE(planner.plan());
  REQUIRE(planner.submit(counting(2, 128)).ok());
  CHECK(planner.plan()->chunks.at(0).cached_tokens == 64);
  auto whole = counting(3, 128);
  whole.all_logits = true;
  REQUIRE(planner.submit(whole).ok());
  CHECK(planner.plan()->chunks.at(0).cached_tokens == 0);
}

TEST_CASE("cached blocks give way to new prompts, the end of a chain first") {
  prefill_planner planner({.num_slots = 8, .micro_batch_tokens = 256, .chunk_tokens = 256}, 5);
  const auto run = [&](const prefill_prompt& p) {
    REQUIRE(planner.submit(p).ok());
    const auto batch = planner.plan();
    REQUIRE(batch);
    planner.complete(batch->step);
    planner.release(p.id);
    return batch->chunks.at(0).cached_tokens;
  };
  CHECK(run(counting(1, 256)) == 0);       // four blocks
  CHECK(run(counting(2, 100, 5000)) == 0); // two: one was free, the last of the four goes
  CHECK(run(counting(3, 256)) == 192);
  CHECK(planner.books().free + planner.books().cached == 5);
}

TEST_CASE("a micro-batch has no more rows of logits than there is room for") {
  prefill_planner planner({.num_slots = 8, .micro_batch_tokens = 256, .chunk_tokens = 256, .outputs = 10}, 16);
  for (request_id id = 1; id <= 3; ++id) {
    auto p = prompt(id, 8);
    p.samples = 4;
    REQUIRE(planner.submit(p).ok());
  }
  CHECK(planner.plan()->chunks.size() == 2);
  CHECK(planner.plan()->chunks.size() == 1);
  auto many = prompt(4, 8);
  many.samples = 11;
  CHECK_FALSE(planner.submit(many).ok());
}
