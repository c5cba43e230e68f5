#include <algorithm>
#include <map>
#include <set>

#include "scheduler/decode_scheduler.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;
using quadrant::test::property;

namespace {

constexpr std::int32_t stop_token = 7, first_token = 1234;

/// What the scheduler promises, kept beside it in the plainest way.
struct witness {
  struct sequence {
    decode_sequence about;
    decode_lease lease;
    bool running = false, ended = false;
    std::int32_t scheduled = 1; ///< index of the token that its next row makes
    std::int32_t told = 1;      ///< index of the token that is told next
    std::int32_t flying = 0;
  };
  decode_limits limits;
  std::int32_t total; ///< blocks of one worker
  decode_scheduler core;
  std::map<sequence_id, sequence> held; ///< with a lease, ended ones too while rows of them are in flight
  std::map<std::int32_t, std::vector<decode_step>> flying;
  std::map<std::int32_t, std::uint64_t> numbers;

  witness(decode_limits l, std::int32_t blocks) : limits(l), total(blocks), core(l, blocks) {}

  /// Blocks in use, by worker.
  [[nodiscard]] std::vector<std::int64_t> used() const {
    std::vector<std::int64_t> sum(std::size_t(limits.kv_split), 0);
    for (const auto& [id, s] : held)
      for (std::size_t b = 0; b < s.lease.blocks.size(); ++b)
        ++sum[s.lease.split.holder_of(std::int32_t(b) / segment_blocks)];
    return sum;
  }
  [[nodiscard]] bool fits(std::int32_t blocks, const std::vector<std::int64_t>& in_use) const {
    const auto split = plan_kv_split(blocks, in_use);
    for (std::size_t worker = 0; worker < in_use.size(); ++worker)
      if (in_use[worker] + split.blocks_on(worker, blocks) > total) return false;
    return true;
  }

  void reserve(sequence_id id, std::int32_t prompt, std::int32_t new_tokens) {
    const decode_sequence about{
        .id = id, .prompt_tokens = prompt, .max_new_tokens = new_tokens, .stop_tokens = {stop_token}};
    const auto blocks = blocks_for(prompt + new_tokens);
    const bool room = fits(blocks, used()) && std::int32_t(held.size()) < limits.max_sequences;
    const auto lease = core.reserve(about);
    if (!fits(blocks, std::vector<std::int64_t>(std::size_t(limits.kv_split), 0)) ||
        (held.contains(id) && !held.at(id).ended)) {
      RC_ASSERT(!lease.ok());
      RC_ASSERT(lease.error().code == errc::invalid_argument);
    } else if (!room || held.contains(id)) {
      RC_ASSERT(!lease.ok());
      RC_ASSERT(lease.error().code == errc::out_of_blocks);
    } else {
      RC_ASSERT(lease.ok());
      RC_ASSERT(std::int32_t(lease->blocks.size()) == blocks);
      held[id] = {.about = about, .lease = *lease};
    }
  }

  void start(sequence_id id) {
    core.start(id, first_token);
    if (const auto found = held.find(id); found != held.end() && !found->second.ended) found->second.running = true;
  }

  [[nodiscard]] bool wants_row(const sequence& s, std::int32_t m) const {
    return s.running && !s.ended && s.lease.slot % limits.micro_batches == m && s.scheduled < s.about.max_new_tokens;
  }

  void schedule(std::int32_t m) {
    std::set<sequence_id> wanted;
    for (const auto& [id, s] : held)
      if (wants_row(s, m)) wanted.insert(id);
    const auto step = core.schedule(m);
    const bool credit = std::int32_t(flying[m].size()) < limits.launch_ahead;
    RC_ASSERT(step.has_value() == (credit && !wanted.empty()));
    if (!step) return;
    RC_ASSERT(step->number == numbers[m]++);
    RC_ASSERT(step->micro_batch == m);
    RC_ASSERT(step->rows.size() == wanted.size());
    for (const auto& row : step->rows) {
      RC_ASSERT(wanted.erase(row.sequence) == 1u); // one row each
      auto& s = held.at(row.sequence);
      RC_ASSERT(row.slot == s.lease.slot);
      RC_ASSERT(row.index == s.scheduled);
      RC_ASSERT(row.position == s.about.prompt_tokens + row.index - 1);
      RC_ASSERT(blocks_for(row.position + 1) <= std::int32_t(s.lease.blocks.size()));
      RC_ASSERT(row.token == (row.index == 1 ? first_token : -1 - row.slot));
      ++s.scheduled;
      ++s.flying;
    }
    flying[m].push_back(*step);
  }

  void commit(std::int32_t m, std::uint32_t dice) {
    if (flying[m].empty()) return;
    const auto step = flying[m].front();
    flying[m].erase(flying[m].begin());
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < step.rows.size(); ++i) {
      const auto die = (dice >> (i % 8)) % 16;
      tokens.push_back(die == 0 ? stop_token : die == 1 ? -1 : 100 + std::int32_t(die));
    }
    auto outcomes = core.commit(m, step.number, tokens);
    RC_ASSERT(core.commit(m, step.number, tokens).empty()); // told twice
    auto next = outcomes.begin();
    for (std::size_t i = 0; i < step.rows.size(); ++i) {
      const auto& row = step.rows[i];
      auto& s = held.at(row.sequence);
      --s.flying;
      if (s.ended) continue; // launched ahead of its end: dropped
      RC_ASSERT(next != outcomes.end());
      RC_ASSERT(next->sequence == row.sequence);
      RC_ASSERT(next->row == i);
      RC_ASSERT(next->token == tokens[i]);
      RC_ASSERT(next->index == s.told); // each token told once, in order
      ++s.told;
      const auto end = tokens[i] < 0                      ? ending::fault
                       : tokens[i] == stop_token          ? ending::stop
                       : s.told == s.about.max_new_tokens ? ending::length
                                                          : ending::none;
      RC_ASSERT(next->end == end);
      s.ended = end != ending::none;
      ++next;
    }
    RC_ASSERT(next == outcomes.end());
    forget_unused();
  }

  void cancel(sequence_id id) {
    core.cancel(id);
    if (const auto found = held.find(id); found != held.end()) found->second.ended = true;
    forget_unused();
  }

  void forget_unused() {
    std::erase_if(held, [](const auto& entry) { return entry.second.ended && entry.second.flying == 0; });
  }

  void check() {
    std::set<std::int32_t> slots;
    std::set<std::pair<std::size_t, block_id>> blocks; // with the worker that holds it
    std::int64_t sum = 0;
    for (const auto& [id, s] : held) {
      RC_ASSERT(s.lease.slot >= 0 && s.lease.slot < limits.max_sequences);
      RC_ASSERT(slots.insert(s.lease.slot).second); // a slot has one owner, and so has a block:
      for (std::size_t b = 0; b < s.lease.blocks.size(); ++b) {
        const auto holder = s.lease.split.holder_of(std::int32_t(b) / segment_blocks);
        RC_ASSERT(blocks.emplace(holder, s.lease.blocks[b]).second);
      }
      sum += std::int64_t(s.lease.blocks.size());
      RC_ASSERT(core.lease_of(id) != nullptr);
    }
    std::int32_t steps = 0;
    for (const auto& [m, list] : flying) {
      RC_ASSERT(std::int32_t(list.size()) <= limits.launch_ahead);
      steps += std::int32_t(list.size());
    }
    RC_ASSERT(core.in_flight() == steps);
    RC_ASSERT(core.live() == std::int32_t(held.size()));
    const auto books = core.books();
    RC_ASSERT(books.free + books.used == total * limits.kv_split);
    RC_ASSERT(books.used == sum);
    RC_ASSERT(books.leases == 0);
  }
};

} // namespace

TEST_CASE("decode_scheduler keeps its promises under random calls") {
  property(
      "no slot or block has two owners, depth is respected, tokens come once and in order, books balance",
      [](const std::vector<std::uint32_t>& calls) {
        witness w({.max_sequences = *rc::gen::inRange(1, 9),
                   .launch_ahead = *rc::gen::inRange(1, 4),
                   .micro_batches = *rc::gen::inRange(1, 4),
                   .kv_split = *rc::gen::inRange(1, 4)},
                  *rc::gen::inRange(1, 60));
        sequence_id next = 1;
        for (const auto call : calls) {
          const auto argument = call / 16;
          const auto m = std::int32_t(argument % std::uint32_t(w.limits.micro_batches));
          const auto some = 1 + argument % next; // of any age
          switch (call % 16) {
          case 0:
          case 1:
          case 2:
            w.reserve(next++, 1 + std::int32_t(argument % (argument % 3 == 0 ? 4000 : 200)),
                      1 + std::int32_t(argument / 256 % 12));
            break;
          case 3: w.reserve(some, 10, 10); break; // a second attempt of an old one, or a mistake
          case 4:
          case 5:
          case 6: w.start(next - 1); break;
          case 7: w.start(some); break;
          case 8:
          case 9:
          case 10:
          case 11: w.schedule(m); break;
          case 12:
          case 13:
          case 14: w.commit(m, argument); break;
          case 15: w.cancel(some); break;
          }
          w.check();
        }
        // Left alone, every started sequence ends; the others are cancelled; then everything is free.
        for (bool busy = true; busy;) {
          busy = false;
          for (std::int32_t m = 0; m < w.limits.micro_batches; ++m) {
            w.schedule(m);
            busy = busy || !w.flying[m].empty();
            w.commit(m, 0xFFFFFFFF);
            w.check();
          }
        }
        std::vector<sequence_id> rest;
        for (const auto& [id, s] : w.held) {
          RC_ASSERT(!s.running || s.about.max_new_tokens == 1);
          rest.push_back(id);
        }
        for (const auto id : rest) w.cancel(id);
        RC_ASSERT(w.core.live() == 0);
        RC_ASSERT(w.core.books().free == w.total * w.limits.kv_split);
      },
      2000);
}
