#include "scheduler/decode_scheduler.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace quadrant::scheduler {

decode_scheduler::decode_scheduler(decode_limits limits, std::int32_t num_blocks)
    : limits_(limits), flying_(std::size_t(limits.micro_batches)), next_number_(std::size_t(limits.micro_batches), 0) {
  for (std::int32_t worker = 0; worker < limits.kv_split; ++worker)
    pools_.push_back(std::make_unique<prefix_cache>(num_blocks, limits.prefix_cache && limits.kv_split == 1));
  for (std::int32_t slot = 0; slot < limits_.max_sequences; ++slot) free_slots_.insert(slot);
}

template <class Call>
void decode_scheduler::each_of(sequence_id id, Call call) {
  for (auto next = sequences_.lower_bound({id, 0}); next != sequences_.end() && next->first.id == id;) {
    auto& [key, s] = *next++; // call may erase it
    call(key, s);
  }
}

result<decode_grant> decode_scheduler::reserve(const decode_sequences& s) {
  if (s.prompt.empty() || s.max_new_tokens < 1 || s.samples < 1)
    return {errc::invalid_argument, "a sequence needs at least one token of prompt and one to make"};
  const auto prompt_tokens = std::int64_t(s.prompt.size());
  demand wanted{.shared = s.samples == 1 ? 0 : std::int32_t(prompt_tokens / block_tokens), .each = 0};
  wanted.each = blocks_for(prompt_tokens + s.max_new_tokens) - wanted.shared;
  QUADRANT_TRY_VOID(could_ever_hold(s, wanted));
  bool known = false, ended = false;
  each_of(s.id, [&](const sequence_key&, const sequence& other) {
    known = true;
    ended = ended || other.ended;
  });
  if (ended) return {errc::out_of_blocks, "the last attempt of this sequence still has steps in flight"};
  if (known) return {errc::invalid_argument, "sequence " + std::to_string(s.id) + " has a lease already"};
  if (std::int32_t(free_slots_.size()) < s.samples)
    return {errc::out_of_blocks, "of the " + std::to_string(limits_.max_sequences) + " sequences of decode " +
                                     std::to_string(free_slots_.size()) + " are free"};
  QUADRANT_TRY(auto grant, take_blocks(s, wanted));
  const auto about = std::make_shared<const decode_sequences>(s);
  std::optional<std::int32_t> beside;
  for (std::int32_t sample = 0; sample < s.samples; ++sample) {
    auto& lease = grant.samples[std::size_t(sample)];
    lease.slot = take_slot(beside);
    beside = lease.slot % limits_.micro_batches;
    sequence made;
    made.about = about;
    made.lease = lease;
    made.epoch = next_epoch_++;
    sequences_.emplace(sequence_key{s.id, sample}, std::move(made));
  }
  return grant;
}

/// Of micro-batch `beside`, if it has one free; else of the emptiest, so that ping and pong stay even.
std::int32_t decode_scheduler::take_slot(std::optional<std::int32_t> beside) {
  std::vector<std::int32_t> load(std::size_t(limits_.micro_batches), 0);
  for (const auto& [key, other] : sequences_) ++load[std::size_t(other.lease.slot % limits_.micro_batches)];
  if (beside) load[std::size_t(*beside)] = -1;
  const auto slot = *std::ranges::min_element(
      free_slots_, {}, [&](std::int32_t x) { return std::pair(load[std::size_t(x % limits_.micro_batches)], x); });
  free_slots_.erase(slot);
  return slot;
}

result<void> decode_scheduler::could_ever_hold(const decode_sequences& s, demand wanted) const {
  if (s.samples > limits_.max_sequences)
    return {errc::invalid_argument, std::to_string(s.samples) + " samples can never be decoded at once: there are " +
                                        std::to_string(limits_.max_sequences) + " sequences"};
  const auto blocks = wanted.shared + wanted.each;
  const auto split = plan_kv_split(blocks, std::vector<std::int64_t>(pools_.size(), 0));
  for (std::size_t worker = 0; worker < pools_.size(); ++worker) {
    const auto shared = split.blocks_on(worker, wanted.shared);
    const auto each = split.blocks_on(worker, blocks) - shared;
    if (shared + std::int64_t(s.samples) * each <= pools_[worker]->pool().total()) continue;
    return {errc::invalid_argument,
            "a prompt of " + std::to_string(s.prompt.size()) + " tokens and " +
                (s.samples == 1 ? "" : std::to_string(s.samples) + " times ") + std::to_string(s.max_new_tokens) +
                " new ones can never fit the " + std::to_string(pools_[0]->pool().total()) + " KV blocks of " +
                (pools_.size() == 1 ? "decode" : "each of " + std::to_string(pools_.size()) + " decode workers")};
  }
  return {};
}

/// All or none.
result<decode_grant> decode_scheduler::take_blocks(const decode_sequences& s, demand wanted) {
  std::vector<std::int64_t> used;
  for (const auto& worker : pools_) used.push_back(worker->pool().books().used);
  const auto blocks = wanted.shared + wanted.each;
  decode_grant grant;
  grant.samples.resize(std::size_t(s.samples), {.slot = 0, .blocks = {}, .split = plan_kv_split(blocks, used)});
  const auto& split = grant.samples.front().split;
  for (std::size_t worker = 0; worker < pools_.size(); ++worker) {
    auto& pool = pools_[worker]->pool();
    const auto here = split.blocks_on(worker, blocks), common = split.blocks_on(worker, wanted.shared);
    const auto cached = pools_.size() == 1 ? pools_[0]->find(s.prompt, std::int32_t(s.prompt.size() / block_tokens))
                                           : std::vector<block_id>{};
    const auto prefix = std::max(common, std::int32_t(cached.size()));
    pool.retain(cached); // first, or they could be evicted for the others
    auto own = pool.allocate(prefix - std::int32_t(cached.size()) + s.samples * (here - prefix));
    if (!own) {
      pool.release(cached);
      for (auto& lease : grant.samples) give_back(lease);
      return own.error();
    }
    grant.cached_blocks = std::int32_t(cached.size());
    std::vector<block_id> first = cached; // the same of all samples
    const auto rest = own->begin() + (prefix - std::int32_t(cached.size()));
    first.insert(first.end(), own->begin(), rest);
    for (std::int32_t sample = 0; sample < s.samples; ++sample) {
      auto& lease = grant.samples[std::size_t(sample)];
      if (sample > 0) pool.retain(first);
      lease.blocks.insert(lease.blocks.end(), first.begin(), first.end());
      const auto mine = rest + std::ptrdiff_t(sample) * (here - prefix);
      lease.blocks.insert(lease.blocks.end(), mine, mine + (here - prefix));
    }
  }
  return grant;
}

/// Of a lease that has the blocks of the first workers, or of all.
void decode_scheduler::give_back(const decode_lease& lease) {
  std::span<const block_id> rest = lease.blocks;
  for (std::size_t worker = 0; worker < pools_.size() && !rest.empty(); ++worker) {
    const auto mine = rest.first(std::size_t(lease.split.blocks_on(worker, std::int32_t(lease.blocks.size()))));
    pools_[worker]->pool().release(mine);
    rest = rest.subspan(mine.size());
  }
}

void decode_scheduler::start(sequence_id id, std::span<const std::int32_t> first_tokens) {
  bool fresh = false;
  each_of(id, [&](const sequence_key& key, sequence& s) {
    if (s.ended || s.running) return;
    const auto first = first_tokens[std::size_t(key.sample)];
    if (!std::exchange(fresh, true) && pools_.size() == 1)
      pools_[0]->publish(s.about->prompt, std::span(s.lease.blocks).first(s.about->prompt.size() / block_tokens));
    if (first < 0 || s.about->max_new_tokens == 1 || std::ranges::count(s.about->stop_tokens, first) > 0) {
      end(s);
      return free_if_unused(key);
    }
    s.running = true;
    s.first_token = first;
  });
}

std::optional<decode_step> decode_scheduler::schedule(std::int32_t micro_batch) {
  auto& flying = flying_[std::size_t(micro_batch)];
  if (std::int32_t(flying.size()) >= limits_.launch_ahead) return std::nullopt;
  decode_step step{.number = next_number_[std::size_t(micro_batch)], .micro_batch = micro_batch, .rows = {}};
  for (auto& [key, s] : sequences_) {
    if (!s.running || s.ended || s.lease.slot % limits_.micro_batches != micro_batch ||
        s.next_index >= s.about->max_new_tokens)
      continue;
    step.rows.push_back({.sequence = key,
                         .slot = s.lease.slot,
                         .epoch = s.epoch,
                         .position = std::int32_t(s.about->prompt.size()) + s.next_index - 1,
                         .index = s.next_index,
                         .token = s.next_index == 1 ? s.first_token : -1 - s.lease.slot});
    ++s.next_index;
    ++s.rows_in_flight;
  }
  if (step.rows.empty()) return std::nullopt;
  ++next_number_[std::size_t(micro_batch)];
  flying.push_back(step);
  return step;
}

std::vector<decode_outcome> decode_scheduler::commit(std::int32_t micro_batch, std::uint64_t number,
                                                     std::span<const std::int32_t> tokens) {
  auto& flying = flying_[std::size_t(micro_batch)];
  if (flying.empty() || number < flying.front().number) return {};
  QCHECK_EQ(number, flying.front().number);
  const auto step = std::move(flying.front());
  flying.pop_front();
  QCHECK_EQ(step.rows.size(), tokens.size());
  std::vector<decode_outcome> outcomes;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto& row = step.rows[i];
    auto& s = sequences_.at(row.sequence);
    --s.rows_in_flight;
    if (s.epoch == row.epoch) {
      decode_outcome out{
          .sequence = row.sequence, .index = row.index, .token = tokens[i], .row = i, .end = ending::none};
      if (tokens[i] < 0)
        out.end = ending::fault;
      else if (std::ranges::find(s.about->stop_tokens, tokens[i]) != s.about->stop_tokens.end())
        out.end = ending::stop;
      else if (row.index + 1 >= s.about->max_new_tokens)
        out.end = ending::length;
      if (out.end != ending::none) end(s);
      outcomes.push_back(out);
    }
    free_if_unused(row.sequence);
  }
  return outcomes;
}

void decode_scheduler::cancel(sequence_id id) {
  each_of(id, [this](const sequence_key& key, sequence&) { cancel(key); });
}

void decode_scheduler::cancel(const sequence_key& which) {
  const auto found = sequences_.find(which);
  if (found == sequences_.end()) return;
  end(found->second);
  free_if_unused(which);
}

void decode_scheduler::end(sequence& s) {
  s.ended = true;
  s.epoch = next_epoch_++;
}

void decode_scheduler::free_if_unused(const sequence_key& which) {
  const auto found = sequences_.find(which);
  if (!found->second.ended || found->second.rows_in_flight > 0) return;
  give_back(found->second.lease);
  free_slots_.insert(found->second.lease.slot);
  sequences_.erase(found);
}

const decode_lease* decode_scheduler::lease_of(const sequence_key& which) const {
  const auto found = sequences_.find(which);
  return found == sequences_.end() ? nullptr : &found->second.lease;
}

bool decode_scheduler::decodes(sequence_id id) const {
  for (auto next = sequences_.lower_bound({id, 0}); next != sequences_.end() && next->first.id == id; ++next)
    if (!next->second.ended) return true;
  return false;
}

block_books decode_scheduler::books() const noexcept {
  block_books sum;
  for (const auto& worker : pools_) sum += worker->pool().books();
  return sum;
}

std::int32_t decode_scheduler::in_flight() const noexcept {
  std::int32_t sum = 0;
  for (const auto& steps : flying_) sum += std::int32_t(steps.size());
  return sum;
}

} // namespace quadrant::scheduler
