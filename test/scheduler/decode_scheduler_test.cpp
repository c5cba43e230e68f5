#include <array>
#include <limits>

#include <doctest/doctest.h>

#include "scheduler/decode_scheduler.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;

namespace {

decode_sequence sequence(sequence_id id, std::int32_t prompt = 10, std::int32_t new_tokens = 10) {
  return {.id = id, .prompt_tokens = prompt, .max_new_tokens = new_tokens, .stop_tokens = {2}};
}

} // namespace

TEST_CASE("a row launched ahead of a stop token is dropped, and its slot is free only when it has come back") {
  decode_scheduler core({.max_sequences = 1, .launch_ahead = 2, .micro_batches = 1}, 8);
  REQUIRE(core.reserve(sequence(1)).ok());
  core.start(1, 50);
  REQUIRE(core.schedule(0));
  REQUIRE(core.schedule(0)); // ahead: whether the first row's token stops is not known yet
  CHECK_FALSE(core.schedule(0));

  const auto stopped = core.commit(0, 0, std::array{2});
  REQUIRE(stopped.size() == 1);
  CHECK(stopped[0].end == ending::stop);
  CHECK(core.live() == 1); // the second row still writes to its blocks
  const auto early = core.reserve(sequence(2));
  REQUIRE_FALSE(early.ok());
  CHECK(early.error().code == errc::out_of_blocks);

  CHECK(core.commit(0, 0, std::array{2}).empty()); // told twice
  CHECK(core.live() == 1);
  CHECK(core.commit(0, 1, std::array{60}).empty());
  CHECK(core.books().free == 8);
  CHECK(core.reserve(sequence(2)).ok());
}

TEST_CASE("a sequence cancelled before its start costs nothing, and a late start does nothing") {
  decode_scheduler core({}, 8);
  REQUIRE(core.reserve(sequence(1)).ok());
  core.cancel(1);
  CHECK(core.books().free == 8);
  core.start(1, 50);
  CHECK_FALSE(core.schedule(0));
  core.cancel(1);
  core.cancel(99);
  CHECK(core.live() == 0);
}

TEST_CASE("a second attempt waits for the steps of the first") {
  decode_scheduler core({}, 8);
  REQUIRE(core.reserve(sequence(1)).ok());
  CHECK(core.reserve(sequence(1)).error().code == errc::invalid_argument); // not while it lives
  core.start(1, 50);
  REQUIRE(core.schedule(0));
  core.cancel(1);
  CHECK(core.reserve(sequence(1)).error().code == errc::out_of_blocks);
  CHECK(core.commit(0, 0, std::array{60}).empty()); // nobody hears the token of the first attempt
  CHECK(core.reserve(sequence(1)).ok());
  CHECK_FALSE(core.schedule(0)); // it has not started
}

TEST_CASE("a sequence that could never fit is told so, however large its numbers") {
  decode_scheduler core({}, 8);
  CHECK(core.reserve(sequence(1, 500, 13)).error().code == errc::invalid_argument);
  CHECK(core.reserve(sequence(2, 10, std::numeric_limits<std::int32_t>::max())).error().code == errc::invalid_argument);
  CHECK(core.reserve(sequence(3, 0, 5)).error().code == errc::invalid_argument);
  CHECK(core.reserve(sequence(4, 5, 0)).error().code == errc::invalid_argument);
  CHECK(core.reserve(sequence(5, 500, 12)).ok());
}

TEST_CASE("ping and pong stay even") {
  decode_scheduler core({.max_sequences = 8, .launch_ahead = 1, .micro_batches = 2}, 64);
  for (sequence_id id = 1; id <= 6; ++id) {
    REQUIRE(core.reserve(sequence(id)).ok());
    core.start(id, 50);
  }
  CHECK(core.schedule(0)->rows.size() == 3);
  CHECK(core.schedule(1)->rows.size() == 3);
}
