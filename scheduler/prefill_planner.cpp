#include "scheduler/prefill_planner.hpp"

#include <algorithm>
#include <string>

namespace quadrant::scheduler {

prefill_planner::prefill_planner(planner_limits limits, std::int32_t num_blocks)
    : limits_(limits), cache_(num_blocks, limits.prefix_cache) {
  for (std::int32_t slot = 0; slot < limits_.num_slots; ++slot) free_slots_.insert(slot);
}

result<void> prefill_planner::submit(prefill_prompt p) {
  const auto size = std::int64_t(p.tokens.size());
  if (size == 0) return {errc::invalid_argument, "a prompt needs at least one token"};
  if (blocks_for(size) > cache_.pool().total())
    return {errc::invalid_argument, "a prompt of " + std::to_string(size) + " tokens can never fit the " +
                                        std::to_string(cache_.pool().total()) + " KV blocks of prefill"};
  if (p.samples > limits_.outputs)
    return {errc::invalid_argument, "a prompt of " + std::to_string(p.samples) + " samples; there is room for " +
                                        std::to_string(limits_.outputs)};
  const auto id = p.id;
  if (prompts_.emplace(id, prompt{.about = std::move(p), .blocks = {}}).second) queue_.push_back(id);
  return {};
}

bool prefill_planner::take_blocks(prompt& p) {
  auto& pool = cache_.pool();
  const auto size = std::int64_t(p.about.tokens.size());
  auto shared = cache_.find(p.about.tokens, p.about.all_logits ? 0 : shareable_blocks(size));
  pool.retain(shared); // first, or they could be evicted for the others
  auto own = pool.allocate(blocks_for(size) - std::int32_t(shared.size()));
  if (!own) {
    pool.release(shared);
    return false;
  }
  p.cached = p.planned = std::int32_t(shared.size()) * block_tokens;
  p.blocks = std::move(shared);
  p.blocks.insert(p.blocks.end(), own->begin(), own->end());
  return true;
}

std::optional<micro_batch> prefill_planner::plan() {
  if (free_slots_.empty()) return std::nullopt;
  micro_batch batch{.step = next_step_, .slot = *free_slots_.begin(), .chunks = {}};
  std::int32_t budget = limits_.micro_batch_tokens, outputs = limits_.outputs;
  std::vector<block_id> used;
  for (auto next = queue_.begin(); budget > 0 && next != queue_.end();) {
    auto& p = prompts_.at(*next);
    if (p.blocks.empty() && !take_blocks(p)) break;
    const auto size = std::int32_t(p.about.tokens.size());
    const auto tokens = std::min({budget, limits_.chunk_tokens, size - p.planned});
    const auto end = p.planned + tokens;
    const auto rows = p.about.all_logits ? tokens : end == size ? p.about.samples : 0;
    if (rows > outputs) break;
    outputs -= rows;
    chunk c{.request = *next,
            .first_position = p.planned,
            .num_tokens = tokens,
            .first = p.planned == p.cached,
            .last = end == size,
            .cached_tokens = p.cached,
            .blocks = {p.blocks.begin(), p.blocks.begin() + blocks_for(end)}};
    used.insert(used.end(), c.blocks.begin(), c.blocks.end());
    cache_.publish(p.about.tokens, std::span(p.blocks).first(std::size_t(end / block_tokens)));
    p.planned = end;
    budget -= tokens;
    next =
        c.last ? queue_.erase(next) : std::next(next); // the rest goes into the next micro-batch, before all behind it
    batch.chunks.push_back(std::move(c));
  }
  if (batch.chunks.empty()) return std::nullopt;
  cache_.pool().retain(used);
  free_slots_.erase(batch.slot);
  flying_.emplace(batch.step, step{batch.slot, std::move(used)});
  ++next_step_;
  return batch;
}

void prefill_planner::complete(std::uint64_t number) {
  const auto done = flying_.find(number);
  if (done == flying_.end()) return;
  cache_.pool().release(done->second.blocks);
  free_slots_.insert(done->second.slot);
  flying_.erase(done);
}

void prefill_planner::halt(request_id request) { std::erase(queue_, request); }

void prefill_planner::release(request_id request) {
  const auto found = prompts_.find(request);
  if (found == prompts_.end()) return;
  cache_.pool().release(found->second.blocks);
  std::erase(queue_, request);
  prompts_.erase(found);
}

} // namespace quadrant::scheduler
