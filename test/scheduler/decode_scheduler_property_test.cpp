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
    decode_sequences about;
    decode_lease lease;
    bool running = false, ended = false;
    std::int32_t scheduled = 1; ///< index of the token that its next row makes
    std::int32_t told = 1;      ///< index of the token that is told next
    std::int32_t flying = 0;
  };
  decode_limits limits;
  std::int32_t total; ///< blocks of one worker
  decode_scheduler core;
  std::map<sequence_key, sequence> held; ///< with a lease, ended ones too while rows of them are in flight
  std::map<std::int32_t, std::vector<decode_step>> flying;
  std::map<std::int32_t, std::uint64_t> numbers;

  witness(decode_limits l, std::int32_t blocks) : limits(l), total(blocks), core(l, blocks) {}

  using place = std::pair<std::size_t, block_id>; ///< a block, with the worker that holds it

  [[nodiscard]] static std::vector<place> places(const decode_lease& lease) {
    std::vector<place> list;
    for (std::size_t b = 0; b < lease.blocks.size(); ++b)
      list.emplace_back(lease.split.holder_of(std::int32_t(b) / segment_blocks), lease.blocks[b]);
    return list;
  }
  /// Blocks in use, with how many sequences each.
  [[nodiscard]] std::map<place, int> used() const {
    std::map<place, int> count;
    for (const auto& [key, s] : held)
      for (const auto& p : places(s.lease)) ++count[p];
    return count;
  }
  [[nodiscard]] std::vector<std::int64_t> used_by_worker() const {
    std::vector<std::int64_t> sum(std::size_t(limits.kv_split), 0);
    for (const auto& [p, n] : used()) ++sum[p.first];
    return sum;
  }
  /// shared: the first blocks, the same for all samples.
  [[nodiscard]] bool fits(std::int32_t blocks, std::int32_t shared, std::int32_t samples,
                          const std::vector<std::int64_t>& in_use) const {
    const auto split = plan_kv_split(blocks, in_use);
    for (std::size_t worker = 0; worker < in_use.size(); ++worker) {
      const auto common = split.blocks_on(worker, shared);
      if (in_use[worker] + common + samples * (split.blocks_on(worker, blocks) - common) > total) return false;
    }
    return true;
  }
  /// Prompts of a few kinds, so that many begin alike.
  static std::vector<std::int32_t> prompt_of(sequence_id id, std::int32_t size) {
    return std::vector<std::int32_t>(std::size_t(size), std::int32_t(id % 3));
  }
  [[nodiscard]] bool any_of(sequence_id id, bool ended) const {
    return std::ranges::any_of(held, [&](const auto& h) { return h.first.id == id && h.second.ended == ended; });
  }

  void reserve(sequence_id id, std::int32_t prompt, std::int32_t new_tokens, std::int32_t samples) {
    const decode_sequences about{.id = id,
                                 .prompt = prompt_of(id, prompt),
                                 .max_new_tokens = new_tokens,
                                 .stop_tokens = {stop_token},
                                 .samples = samples};
    const auto blocks = blocks_for(prompt + new_tokens), shared = samples == 1 ? 0 : prompt / block_tokens;
    const auto before = used();
    const bool room = std::int32_t(held.size()) + samples <= limits.max_sequences;
    const bool surely = fits(blocks, shared, samples, used_by_worker()); // without what it shares with others
    const auto grant = core.reserve(about);
    if (!fits(blocks, shared, samples, std::vector<std::int64_t>(std::size_t(limits.kv_split), 0)) ||
        samples > limits.max_sequences || (any_of(id, false) && !any_of(id, true))) {
      RC_ASSERT(!grant.ok());
      RC_ASSERT(grant.error().code == errc::invalid_argument);
    } else if (!room || any_of(id, true)) {
      RC_ASSERT(!grant.ok());
      RC_ASSERT(grant.error().code == errc::out_of_blocks);
    } else if (!grant) {
      RC_ASSERT(grant.error().code == errc::out_of_blocks);
      RC_ASSERT(!surely);
    } else {
      RC_ASSERT(std::int32_t(grant->samples.size()) == samples);
      RC_ASSERT(grant->cached_blocks <= prompt / block_tokens);
      if (limits.kv_split > 1) RC_ASSERT(grant->cached_blocks == 0);
      for (std::int32_t i = 0; i < samples; ++i) {
        const auto& lease = grant->samples[std::size_t(i)];
        RC_ASSERT(std::int32_t(lease.blocks.size()) == blocks);
        const auto list = places(lease);
        for (std::int32_t b = 0; b < blocks; ++b) {
          // In place already: the KV of these tokens. Else: nobody's.
          if (b < grant->cached_blocks)
            RC_ASSERT(holds.at(list[std::size_t(b)]) == std::pair(std::int32_t(id % 3), b));
          else
            RC_ASSERT(!before.contains(list[std::size_t(b)]));
        }
        held[{id, i}] = {.about = about, .lease = lease};
      }
    }
  }
  /// Of the full blocks of prompts in place: their token, and which one of the prompt it is.
  std::map<place, std::pair<std::int32_t, std::int32_t>> holds;

  void start(sequence_id id) {
    std::vector<std::int32_t> first;
    for (const auto& [key, s] : held)
      if (key.id == id) first.resize(std::size_t(std::max<std::int32_t>(s.about.samples, 1)), first_token);
    core.start(id, first);
    for (auto& [key, s] : held) {
      if (key.id != id || s.ended || s.running) continue;
      s.running = true;
      if (s.about.max_new_tokens == 1) s.ended = true; // it has all that it wants
      const auto list = places(s.lease);
      for (std::size_t b = 0; b < s.about.prompt.size() / block_tokens; ++b)
        holds[list[b]] = {std::int32_t(id % 3), std::int32_t(b)};
    }
    forget_unused();
  }

  [[nodiscard]] bool wants_row(const sequence& s, std::int32_t m) const {
    return s.running && !s.ended && s.lease.slot % limits.micro_batches == m && s.scheduled < s.about.max_new_tokens;
  }

  void schedule(std::int32_t m) {
    std::set<sequence_key> wanted;
    for (const auto& [key, s] : held)
      if (wants_row(s, m)) wanted.insert(key);
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
      RC_ASSERT(row.position == std::int32_t(s.about.prompt.size()) + row.index - 1);
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
    for (auto& [key, s] : held)
      if (key.id == id) s.ended = true;
    forget_unused();
  }

  void cancel(const sequence_key& which) {
    core.cancel(which);
    if (const auto found = held.find(which); found != held.end()) found->second.ended = true;
    forget_unused();
  }

  void forget_unused() {
    std::erase_if(held, [](const auto& entry) { return entry.second.ended && entry.second.flying == 0; });
  }

  void check() {
    std::set<std::int32_t> slots;
    std::int64_t leases = 0;
    for (const auto& [key, s] : held) {
      RC_ASSERT(s.lease.slot >= 0 && s.lease.slot < limits.max_sequences);
      RC_ASSERT(slots.insert(s.lease.slot).second); // a slot has one owner
      leases += std::int64_t(s.lease.blocks.size());
      RC_ASSERT(core.lease_of(key) != nullptr);
      RC_ASSERT(core.decodes(key.id) == any_of(key.id, false));
    }
    const auto sum = std::int64_t(used().size());
    leases -= sum;
    std::int32_t steps = 0;
    for (const auto& [m, list] : flying) {
      RC_ASSERT(std::int32_t(list.size()) <= limits.launch_ahead);
      steps += std::int32_t(list.size());
    }
    RC_ASSERT(core.in_flight() == steps);
    RC_ASSERT(core.live() == std::int32_t(held.size()));
    const auto books = core.books();
    RC_ASSERT(books.free + books.used + books.cached == total * limits.kv_split);
    RC_ASSERT(books.used == sum);
    RC_ASSERT(books.leases == leases);
  }
};

} // namespace

TEST_CASE("decode_scheduler keeps its promises under random calls") {
  property(
      "no slot has two owners, no block but what begins alike, depth is respected, tokens come once and in order, "
      "books balance",
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
                      1 + std::int32_t(argument / 256 % 12),
                      argument / 4096 % 3 == 0 ? 1 + std::int32_t(argument / 16384 % 4) : 1);
            break;
          case 3: w.reserve(some, 10, 10, 1); break; // a second attempt of an old one, or a mistake
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
          case 15: argument % 2 == 0 ? w.cancel(some) : w.cancel({some, std::int32_t(argument / 2 % 3)}); break;
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
        for (const auto& [key, s] : w.held) {
          RC_ASSERT(!s.running);
          rest.push_back(key.id);
        }
        for (const auto id : rest) w.cancel(id);
        RC_ASSERT(w.core.live() == 0);
        RC_ASSERT(w.core.books().used == 0);
      },
      2000);
}
