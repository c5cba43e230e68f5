#include <array>
#include <limits>

#include <doctest/doctest.h>

#include "scheduler/decode_scheduler.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;

namespace {

/// Of a prompt that no other id has.
decode_sequences sequence(sequence_id id, std::int32_t prompt = 10, std::int32_t new_tokens = 10,
                          std::int32_t samples = 1) {
  return {.id = id,
          .prompt = std::vector<std::int32_t>(std::size_t(prompt), std::int32_t(id)),
          .max_new_tokens = new_tokens,
          .stop_tokens = {2},
          .samples = samples};
}

} // namespace

TEST_CASE("a row launched ahead of a stop token is dropped, and its slot is free only when it has come back") {
  decode_scheduler core({.max_sequences = 1, .launch_ahead = 2, .micro_batches = 1}, 8);
  REQUIRE(core.reserve(sequence(1)).ok());
  core.start(1, std::array{50});
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
  CHECK(core.books().used == 0);
  CHECK(core.reserve(sequence(2)).ok());
}

TEST_CASE("a sequence cancelled before its start costs nothing, and a late start does nothing") {
  decode_scheduler core({}, 8);
  REQUIRE(core.reserve(sequence(1)).ok());
  core.cancel(1);
  CHECK(core.books().used == 0);
  core.start(1, std::array{50});
  CHECK_FALSE(core.schedule(0));
  core.cancel(1);
  core.cancel(99);
  CHECK(core.live() == 0);
}

TEST_CASE("a second attempt waits for the steps of the first") {
  decode_scheduler core({}, 8);
  REQUIRE(core.reserve(sequence(1)).ok());
  CHECK(core.reserve(sequence(1)).error().code == errc::invalid_argument); // not while it lives
  core.start(1, std::array{50});
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
    core.start(id, std::array{50});
  }
  CHECK(core.schedule(0)->rows.size() == 3);
  CHECK(core.schedule(1)->rows.size() == 3);
}

TEST_CASE("samples of one prompt share its full blocks, and end one by one") {
  decode_scheduler core({.max_sequences = 8, .launch_ahead = 1, .micro_batches = 2}, 64);
  const auto grant = core.reserve(sequence(1, 150, 20, 3));
  REQUIRE(grant.ok());
  REQUIRE(grant->samples.size() == 3);
  CHECK(core.books().used == 2 + 3 * 1);
  CHECK(core.books().leases == 2 * 2);
  for (const auto& s : grant->samples) {
    CHECK(std::equal(s.blocks.begin(), s.blocks.begin() + 2, grant->samples[0].blocks.begin()));
    CHECK(s.slot % 2 == grant->samples[0].slot % 2); // one step reads the prompt for all
  }
  CHECK(grant->samples[0].blocks[2] != grant->samples[1].blocks[2]);

  core.start(1, std::array{50, 2, 60}); // the second one's first token stops it
  CHECK(core.live() == 2);
  const auto m = grant->samples[0].slot % 2;
  const auto step = core.schedule(m);
  REQUIRE(step);
  CHECK(step->rows.size() == 2);
  CHECK(step->rows[1].sequence == sequence_key{1, 2});
  core.cancel(sequence_key{1, 0});
  CHECK(core.decodes(1));
  const auto told = core.commit(m, 0, std::array{9, 2});
  REQUIRE(told.size() == 1); // nobody hears of the cancelled one
  CHECK(told[0].sequence.sample == 2);
  CHECK_FALSE(core.decodes(1));
  CHECK(core.live() == 0);
  CHECK(core.books().used == 0);
}

TEST_CASE("more samples than sequences can never be decoded") {
  decode_scheduler core({.max_sequences = 4}, 64);
  CHECK(core.reserve(sequence(1, 10, 10, 5)).error().code == errc::invalid_argument);
  CHECK(core.reserve(sequence(2, 10, 10, 2)).ok());
  CHECK(core.reserve(sequence(3, 10, 10, 3)).error().code == errc::out_of_blocks);
}

TEST_CASE("a request shares the blocks of prompts that are in place") {
  decode_scheduler core({}, 16);
  auto first = sequence(1, 200), second = sequence(2, 150), third = sequence(3, 150);
  second.prompt.assign(150, 1);
  third.prompt.assign(150, 1);
  REQUIRE(core.reserve(first).ok());
  CHECK(core.reserve(second)->cached_blocks == 0); // the KV of the first is still on its way
  core.start(1, std::array{50});
  const auto shares = core.reserve(third);
  REQUIRE(shares.ok());
  CHECK(shares->cached_blocks == 2);
  CHECK(std::equal(shares->samples[0].blocks.begin(), shares->samples[0].blocks.begin() + 2,
                   core.lease_of({1, 0})->blocks.begin()));
  core.cancel(1), core.cancel(2), core.cancel(3);
  CHECK(core.books().used == 0);
  CHECK(core.books().cached == 3);
  CHECK(core.reserve(sequence(4, 16 * 64 - 10, 10)).ok()); // what nobody uses gives way
}
