#include "scheduler/prefill_planner.hpp"

#include <algorithm>
#include <string>

namespace quadrant::scheduler {

prefill_planner::prefill_planner(planner_limits limits, std::int32_t num_blocks) : limits_(limits), pool_(num_blocks) {
  for (std::int32_t slot = 0; slot < limits_.num_slots; ++slot) free_slots_.insert(slot);
}

result<void> prefill_planner::submit(request_id request, std::int32_t num_tokens) {
  if (num_tokens < 1) return {errc::invalid_argument, "a prompt needs at least one token"};
  if (blocks_for(num_tokens) > pool_.total())
    return {errc::invalid_argument, "a prompt of " + std::to_string(num_tokens) + " tokens can never fit the " +
                                        std::to_string(pool_.total()) + " KV blocks of prefill"};
  if (prompts_.emplace(request, prompt{.num_tokens = num_tokens, .planned = 0, .blocks = {}}).second)
    queue_.push_back(request);
  return {};
}

std::optional<micro_batch> prefill_planner::plan() {
  if (free_slots_.empty()) return std::nullopt;
  micro_batch batch{.step = next_step_, .slot = *free_slots_.begin(), .chunks = {}};
  std::int32_t budget = limits_.micro_batch_tokens;
  std::vector<block_id> used;
  for (auto next = queue_.begin(); budget > 0 && next != queue_.end();) {
    auto& p = prompts_.at(*next);
    if (p.blocks.empty()) {
      auto blocks = pool_.allocate(blocks_for(p.num_tokens));
      if (!blocks) break;
      p.blocks = std::move(*blocks);
    }
    const auto tokens = std::min({budget, limits_.chunk_tokens, p.num_tokens - p.planned});
    const auto end = p.planned + tokens;
    chunk c{.request = *next,
            .first_position = p.planned,
            .num_tokens = tokens,
            .last = end == p.num_tokens,
            .blocks = {p.blocks.begin(), p.blocks.begin() + blocks_for(end)}};
    used.insert(used.end(), c.blocks.begin(), c.blocks.end());
    p.planned = end;
    budget -= tokens;
    next =
        c.last ? queue_.erase(next) : std::next(next); // the rest goes into the next micro-batch, before all behind it
    batch.chunks.push_back(std::move(c));
  }
  if (batch.chunks.empty()) return std::nullopt;
  pool_.retain(used);
  free_slots_.erase(batch.slot);
  flying_.emplace(batch.step, step{batch.slot, std::move(used)});
  ++next_step_;
  return batch;
}

void prefill_planner::complete(std::uint64_t number) {
  const auto done = flying_.find(number);
  if (done == flying_.end()) return;
  pool_.release(done->second.blocks);
  free_slots_.insert(done->second.slot);
  flying_.erase(done);
}

void prefill_planner::halt(request_id request) { std::erase(queue_, request); }

void prefill_planner::release(request_id request) {
  const auto found = prompts_.find(request);
  if (found == prompts_.end()) return;
  pool_.release(found->second.blocks);
  std::erase(queue_, request);
  prompts_.erase(found);
}

} // namespace quadrant::scheduler
