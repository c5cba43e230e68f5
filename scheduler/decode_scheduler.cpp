#include "scheduler/decode_scheduler.hpp"

#include <algorithm>
#include <string>

namespace quadrant::scheduler {

decode_scheduler::decode_scheduler(decode_limits limits, std::int32_t num_blocks)
    : limits_(limits), pools_(std::size_t(limits.kv_split), block_pool(num_blocks)),
      flying_(std::size_t(limits.micro_batches)), next_number_(std::size_t(limits.micro_batches), 0) {
  for (std::int32_t slot = 0; slot < limits_.max_sequences; ++slot) free_slots_.insert(slot);
}

result<decode_lease> decode_scheduler::reserve(const decode_sequence& s) {
  if (s.prompt_tokens < 1 || s.max_new_tokens < 1)
    return {errc::invalid_argument, "a sequence needs at least one token of prompt and one to make"};
  const auto blocks = blocks_for(std::int64_t(s.prompt_tokens) + s.max_new_tokens);
  if (!can_ever_hold(blocks))
    return {errc::invalid_argument,
            "a prompt of " + std::to_string(s.prompt_tokens) + " tokens and " + std::to_string(s.max_new_tokens) +
                " new ones can never fit the " + std::to_string(pools_[0].total()) + " KV blocks of " +
                (pools_.size() == 1 ? "decode" : "each of " + std::to_string(pools_.size()) + " decode workers")};
  if (const auto found = sequences_.find(s.id); found != sequences_.end()) {
    if (found->second.ended)
      return {errc::out_of_blocks, "the last attempt of this sequence still has steps in flight"};
    return {errc::invalid_argument, "sequence " + std::to_string(s.id) + " has a lease already"};
  }
  if (free_slots_.empty())
    return {errc::out_of_blocks, "all " + std::to_string(limits_.max_sequences) + " sequences of decode are taken"};
  QUADRANT_TRY(auto lease, take_blocks(blocks));
  // The emptiest micro-batch gets the sequence, so that ping and pong stay even.
  std::vector<std::int32_t> load(std::size_t(limits_.micro_batches), 0);
  for (const auto& [id, other] : sequences_) ++load[std::size_t(other.lease.slot % limits_.micro_batches)];
  const auto slot = *std::ranges::min_element(
      free_slots_, {}, [&](std::int32_t x) { return std::pair(load[std::size_t(x % limits_.micro_batches)], x); });
  free_slots_.erase(slot);
  sequence made;
  made.about = s;
  lease.slot = slot;
  made.lease = std::move(lease);
  made.epoch = next_epoch_++;
  return sequences_.emplace(s.id, std::move(made)).first->second.lease;
}

bool decode_scheduler::can_ever_hold(std::int32_t blocks) const {
  const auto split = plan_kv_split(blocks, std::vector<std::int64_t>(pools_.size(), 0));
  for (std::size_t worker = 0; worker < pools_.size(); ++worker)
    if (split.blocks_on(worker, blocks) > pools_[worker].total()) return false;
  return true;
}

/// All or none.
result<decode_lease> decode_scheduler::take_blocks(std::int32_t blocks) {
  std::vector<std::int64_t> used;
  for (const auto& pool : pools_) used.push_back(pool.books().used);
  decode_lease lease{.slot = 0, .blocks = {}, .split = plan_kv_split(blocks, used)};
  for (std::size_t worker = 0; worker < pools_.size(); ++worker) {
    auto taken = pools_[worker].allocate(lease.split.blocks_on(worker, blocks));
    if (!taken) {
      give_back(lease);
      return taken.error();
    }
    lease.blocks.insert(lease.blocks.end(), taken->begin(), taken->end());
  }
  return lease;
}

/// Of a lease that has the blocks of the first workers, or of all.
void decode_scheduler::give_back(const decode_lease& lease) {
  std::span<const block_id> rest = lease.blocks;
  for (std::size_t worker = 0; worker < pools_.size(); ++worker) {
    const auto mine = rest.first(std::size_t(lease.split.blocks_on(worker, std::int32_t(lease.blocks.size()))));
    pools_[worker].release(mine);
    rest = rest.subspan(mine.size());
  }
}

void decode_scheduler::start(sequence_id id, std::int32_t first_token) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end() || found->second.ended || found->second.running) return;
  if (first_token < 0 || std::ranges::count(found->second.about.stop_tokens, first_token) > 0) return;
  found->second.running = true;
  found->second.first_token = first_token;
}

std::optional<decode_step> decode_scheduler::schedule(std::int32_t micro_batch) {
  auto& flying = flying_[std::size_t(micro_batch)];
  if (std::int32_t(flying.size()) >= limits_.launch_ahead) return std::nullopt;
  decode_step step{.number = next_number_[std::size_t(micro_batch)], .micro_batch = micro_batch, .rows = {}};
  for (auto& [id, s] : sequences_) {
    if (!s.running || s.ended || s.lease.slot % limits_.micro_batches != micro_batch ||
        s.next_index >= s.about.max_new_tokens)
      continue;
    step.rows.push_back({.sequence = id,
                         .slot = s.lease.slot,
                         .epoch = s.epoch,
                         .position = s.about.prompt_tokens + s.next_index - 1,
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
      else if (std::ranges::find(s.about.stop_tokens, tokens[i]) != s.about.stop_tokens.end())
        out.end = ending::stop;
      else if (row.index + 1 >= s.about.max_new_tokens)
        out.end = ending::length;
      if (out.end != ending::none) end(s);
      outcomes.push_back(out);
    }
    free_if_unused(row.sequence);
  }
  return outcomes;
}

void decode_scheduler::cancel(sequence_id id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  end(found->second);
  free_if_unused(id);
}

void decode_scheduler::end(sequence& s) {
  s.ended = true;
  s.epoch = next_epoch_++;
}

void decode_scheduler::free_if_unused(sequence_id id) {
  const auto found = sequences_.find(id);
  if (!found->second.ended || found->second.rows_in_flight > 0) return;
  give_back(found->second.lease);
  free_slots_.insert(found->second.lease.slot);
  sequences_.erase(found);
}

const decode_lease* decode_scheduler::lease_of(sequence_id id) const {
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? nullptr : &found->second.lease;
}

block_books decode_scheduler::books() const noexcept {
  block_books sum;
  for (const auto& pool : pools_) {
    const auto one = pool.books();
    sum.total += one.total, sum.free += one.free, sum.used += one.used, sum.cached += one.cached;
    sum.leases += one.leases;
  }
  return sum;
}

std::int32_t decode_scheduler::in_flight() const noexcept {
  std::int32_t sum = 0;
  for (const auto& steps : flying_) sum += std::int32_t(steps.size());
  return sum;
}

} // namespace quadrant::scheduler
