#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "scheduler/prefill_planner.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;
using quadrant::test::property;

namespace {

/// What the planner promises, kept beside it in the plainest way.
struct witness {
  struct prompt {
    std::vector<std::int32_t> tokens;
    std::int32_t covered = 0;
    bool seen = false;            ///< it has had a chunk
    std::vector<block_id> blocks; ///< as far as seen
    [[nodiscard]] std::int32_t size() const { return std::int32_t(tokens.size()); }
  };
  /// Tokens of a few kinds of prompt, so that many begin alike.
  static std::vector<std::int32_t> tokens_of(request_id id, std::int32_t size) {
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(size));
    for (std::int32_t i = 0; i < size; ++i)
      tokens[std::size_t(i)] = i < std::int32_t(id % 4) * 64 ? 1 : std::int32_t(id % 3);
    return tokens;
  }
  planner_limits limits;
  std::int32_t total;
  prefill_planner planner;
  std::vector<request_id> line; ///< live, with tokens left, first come first
  std::map<request_id, prompt> live;
  std::vector<micro_batch> flying;
  std::uint64_t next_step = 0;

  witness(planner_limits l, std::int32_t num_blocks) : limits(l), total(num_blocks), planner(l, num_blocks) {}

  void submit(request_id id, std::int32_t tokens) {
    const auto taken = planner.submit({.id = id, .tokens = tokens_of(id, tokens)});
    RC_ASSERT(taken.ok() == (tokens >= 1 && (tokens + 63) / 64 <= total));
    if (!taken) return;
    live[id] = {.tokens = tokens_of(id, tokens), .blocks = {}};
    line.push_back(id);
  }

  void plan() {
    const auto free_before = planner.books().free + planner.books().cached;
    const auto batch = planner.plan();
    if (!batch) {
      if (std::int32_t(flying.size()) == limits.num_slots || line.empty()) return;
      RC_ASSERT(!live.at(line[0]).seen); // the front of the line waits for blocks
      RC_ASSERT(blocks_for(live.at(line[0]).size()) > free_before);
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
      RC_ASSERT(c.first == !p.seen);
      if (!std::exchange(p.seen, true)) {
        RC_ASSERT(c.cached_tokens % block_tokens == 0);
        RC_ASSERT(c.cached_tokens < p.size());
        p.covered = c.cached_tokens;
        // What it begins with was computed for these tokens before them.
        for (std::int32_t b = 0; b < c.cached_tokens / block_tokens; ++b)
          RC_ASSERT(holds.at(c.blocks[std::size_t(b)]) == prefix(p.tokens, b));
      }
      RC_ASSERT(c.first_position == p.covered); // covers the rest once and in order
      RC_ASSERT(c.num_tokens >= 1 && c.num_tokens <= limits.chunk_tokens);
      p.covered += c.num_tokens;
      tokens += c.num_tokens;
      RC_ASSERT(p.covered <= p.size());
      RC_ASSERT(c.last == (p.covered == p.size()));
      for (auto b = c.first_position / block_tokens; b < blocks_for(p.covered); ++b)
        holds[c.blocks[std::size_t(b)]] =
            (b + 1) * block_tokens <= p.covered ? prefix(p.tokens, b) : std::vector<std::int32_t>{};
      RC_ASSERT(std::int32_t(c.blocks.size()) == blocks_for(p.covered));
      RC_ASSERT(std::equal(p.blocks.begin(), p.blocks.end(), c.blocks.begin())); // a prompt keeps its blocks
      p.blocks = c.blocks;
    }
    RC_ASSERT(tokens <= limits.micro_batch_tokens);
    if (tokens < limits.micro_batch_tokens &&
        batch->chunks.size() < line.size()) { // it stopped early: for want of blocks
      const auto& next = live.at(line[batch->chunks.size()]);
      RC_ASSERT(!next.seen && blocks_for(next.size()) > planner.books().free + planner.books().cached);
    }
    std::erase_if(line, [&](request_id id) { return live.at(id).seen && live.at(id).covered == live.at(id).size(); });
    flying.push_back(*batch);
  }

  /// All tokens to the end of a block: what its KV depends on.
  static std::vector<std::int32_t> prefix(const std::vector<std::int32_t>& tokens, std::int32_t block) {
    return {tokens.begin(), tokens.begin() + (block + 1) * block_tokens};
  }
  std::map<block_id, std::vector<std::int32_t>> holds; ///< the KV of which tokens; none where it is not full

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
    // A block has one owner, but for those that several prompts begin with.
    std::map<block_id, std::set<request_id>> owners;
    std::int64_t references = 0, unseen = 0;
    for (const auto& [id, p] : live) {
      for (const auto b : p.blocks) owners[b].insert(id);
      if (!p.seen) continue;
      unseen += blocks_for(p.size()) - std::int64_t(p.blocks.size()); // taken, but of no chunk yet
      references += blocks_for(p.size());
    }
    for (const auto& batch : flying)
      for (const auto& c : batch.chunks) {
        for (const auto b : c.blocks) owners[b].insert(c.request); // a step in flight keeps what a released prompt had
        references += std::int64_t(c.blocks.size());
      }
    for (const auto& [b, who] : owners) RC_ASSERT((who.size() == 1 || !holds.at(b).empty()));
    const auto books = planner.books();
    RC_ASSERT(books.free + books.used + books.cached == total);
    RC_ASSERT(books.used == std::int64_t(owners.size()) + unseen);
    RC_ASSERT(books.leases == references - books.used);
    RC_ASSERT(planner.in_flight() == std::int32_t(flying.size()));
    RC_ASSERT(planner.waiting() == std::int32_t(line.size()));
  }
};

} // namespace

TEST_CASE("prefill_planner keeps its promises under random calls") {
  property(
      "chunks cover prompts once and in order, first come first served, none shares a block but where both begin "
      "alike, books balance",
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
            if (p.seen && p.covered == p.size()) done.push_back(id);
          for (const auto id : done) w.release(id);
          w.check();
        }
        RC_ASSERT(w.planner.books().used == 0);
        RC_ASSERT(w.planner.books().leases == 0);
      },
      1000);
}
