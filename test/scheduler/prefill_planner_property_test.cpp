#include <algorithm>
#include <map>
#include <set>

#include "scheduler/prefill_planner.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;
using quadrant::test::property;

namespace {

/// What the planner promises, kept beside it in the plainest way.
struct witness {
  struct prompt {
    std::int32_t num_tokens = 0, covered = 0;
    std::vector<block_id> blocks; ///< as far as seen
  };
  planner_limits limits;
  std::int32_t total;
  prefill_planner planner;
  std::vector<request_id> line; ///< live, with tokens left, first come first
  std::map<request_id, prompt> live;
  std::vector<micro_batch> flying;
  std::uint64_t next_step = 0;

  witness(planner_limits l, std::int32_t num_blocks) : limits(l), total(num_blocks), planner(l, num_blocks) {}

  void submit(request_id id, std::int32_t tokens) {
    const auto taken = planner.submit(id, tokens);
    RC_ASSERT(taken.ok() == (tokens >= 1 && (tokens + 63) / 64 <= total));
    if (!taken) return;
    live[id] = {.num_tokens = tokens, .covered = 0, .blocks = {}};
    line.push_back(id);
  }

  void plan() {
    const auto free_before = planner.books().free;
    const auto batch = planner.plan();
    if (!batch) {
      if (std::int32_t(flying.size()) == limits.num_slots || line.empty()) return;
      RC_ASSERT(live.at(line[0]).covered == 0); // the front of the line waits for blocks
      RC_ASSERT(blocks_for(live.at(line[0]).num_tokens) > free_before);
      return;
    }
    RC_ASSERT(batch->step == next_step++);
    RC_ASSERT(batch->slot >= 0 && batch->slot < limits.num_slots);
    for (const auto& other : flying) RC_ASSERT(other.slot != batch->slot);
    std::int32_t tokens = 0;
    for (std::size_t i = 0; i < batch->chunks.size(); ++i) {
      const auto& c = batch->chunks[i];
      RC_ASSERT(c.request == line.at(i)); // FIFO: the front of the line, nobody skipped
      auto& p = live.at(c.request);
      RC_ASSERT(c.first_position == p.covered); // covers the prompt once and in order
      RC_ASSERT(c.num_tokens >= 1 && c.num_tokens <= limits.chunk_tokens);
      p.covered += c.num_tokens;
      tokens += c.num_tokens;
      RC_ASSERT(p.covered <= p.num_tokens);
      RC_ASSERT(c.last == (p.covered == p.num_tokens));
      RC_ASSERT(std::int32_t(c.blocks.size()) == blocks_for(p.covered));
      RC_ASSERT(std::equal(p.blocks.begin(), p.blocks.end(), c.blocks.begin())); // a prompt keeps its blocks
      p.blocks = c.blocks;
    }
    RC_ASSERT(tokens <= limits.micro_batch_tokens);
    if (tokens < limits.micro_batch_tokens &&
        batch->chunks.size() < line.size()) { // it stopped early: for want of blocks
      const auto& next = live.at(line[batch->chunks.size()]);
      RC_ASSERT(next.covered == 0 && blocks_for(next.num_tokens) > planner.books().free);
    }
    std::erase_if(line, [&](request_id id) { return live.at(id).covered == live.at(id).num_tokens; });
    flying.push_back(*batch);
  }

  void complete() {
    if (flying.empty()) return;
    const auto any = flying.begin() + *rc::gen::inRange<std::ptrdiff_t>(0, std::ptrdiff_t(flying.size()));
    planner.complete(any->step);
    planner.complete(any->step); // told twice
    flying.erase(any);
  }

  void release(request_id id) {
    planner.release(id);
    live.erase(id);
    std::erase(line, id);
  }

  void check() const {
    std::map<block_id, request_id> owner;
    std::set<block_id> seen;
    std::int64_t references = 0, used = 0;
    const auto own = [&](request_id id, const std::vector<block_id>& blocks) {
      for (const auto b : blocks) RC_ASSERT(owner.emplace(b, id).first->second == id); // no block has two owners
    };
    for (const auto& [id, p] : live) {
      own(id, p.blocks);
      if (p.covered == 0) continue;
      used += blocks_for(p.num_tokens);
      references += blocks_for(p.num_tokens);
    }
    for (const auto& batch : flying)
      for (const auto& c : batch.chunks) {
        own(c.request, c.blocks);
        references += std::int64_t(c.blocks.size());
        if (!live.contains(c.request))
          for (const auto b : c.blocks)
            used += seen.insert(b).second; // a step in flight keeps what a released prompt had
      }
    const auto books = planner.books();
    RC_ASSERT(books.free + books.used == total);
    RC_ASSERT(books.used == used);
    RC_ASSERT(books.leases == references - used);
    RC_ASSERT(planner.in_flight() == std::int32_t(flying.size()));
    RC_ASSERT(planner.waiting() == std::int32_t(line.size()));
  }
};

} // namespace

TEST_CASE("prefill_planner keeps its promises under random calls") {
  property(
      "chunks cover prompts once and in order, first come first served, no block shared, books balance",
      [](const std::vector<std::uint32_t>& calls) {
        const auto budget = *rc::gen::inRange(1, 300);
        witness w({.num_slots = *rc::gen::inRange(1, 4),
                   .micro_batch_tokens = budget,
                   .chunk_tokens = *rc::gen::inRange(1, 300)},
                  *rc::gen::inRange(1, 20));
        request_id next = 1;
        for (const auto call : calls) {
          const auto argument = std::int32_t(call / 8 % 1400);
          switch (call % 8) {
          case 0:
          case 1: w.submit(next++, argument); break;
          case 2:
          case 3:
          case 4: w.plan(); break;
          case 5:
          case 6: w.complete(); break;
          case 7:
            w.release(1 + request_id(argument) % next);
            break; // of any age: waiting, half planned, in flight, long gone
          }
          w.check();
        }
        // Left alone, every prompt is finished, and everything is free in the end.
        while (!w.live.empty() || !w.flying.empty()) {
          w.plan();
          w.complete();
          std::vector<request_id> done;
          for (const auto& [id, p] : w.live)
            if (p.covered == p.num_tokens) done.push_back(id);
          for (const auto id : done) w.release(id);
          w.check();
        }
        RC_ASSERT(w.planner.books().free == w.total);
        RC_ASSERT(w.planner.books().leases == 0);
      },
      1000);
}
