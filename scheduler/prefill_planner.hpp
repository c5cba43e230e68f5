// scheduler/prefill_planner.hpp: the next micro-batch of one prefill pipeline.
//
//   submit ─▶ waiting, first come first served ─▶ plan: chunks of several prompts, up to a budget ─▶ complete ─▶ release
//
// A prompt that begins like one whose blocks are still there begins with those blocks, as soon as the chunk that fills
// them is planned: steps run in order.
// A micro-batch takes one chunk of each prompt in line, from the front, until its budget is used up. A prompt gets all
// its blocks when its first chunk is planned, so half-computed prompts cannot starve each other; a prompt that must
// wait for blocks makes those behind it wait too. Chunks of one prompt may be in flight at once: shards run steps in
// order.
// Units   tokens; a step is one micro-batch through all stages
// Holds   the chunks of a prompt cover what is not cached exactly, once, in order; where a prompt has a chunk, so has each that waited
//         before it; no block is free while a step that uses it is in flight
// Threads one owner
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "config/result.hpp"
#include "scheduler/prefix_cache.hpp"

namespace quadrant::scheduler {

using request_id = std::uint64_t;

struct planner_limits {
  std::int32_t num_slots = 2;            ///< micro-batches in flight: the pipeline's credits
  std::int32_t micro_batch_tokens = 256; ///< budget of one
  std::int32_t chunk_tokens = 256;       ///< largest slice of one prompt in one
  std::int32_t outputs = 256;            ///< rows of logits in one
  bool prefix_cache = true;              ///< prompts share the blocks of what they have in common
};

struct prefill_prompt {
  request_id id = 0;
  std::vector<std::int32_t> tokens;
  bool all_logits = false;  ///< of every position: all are computed
  std::int32_t samples = 1; ///< rows of logits at its end
};

struct chunk {
  request_id request = 0;
  std::int32_t first_position = 0, num_tokens = 0;
  bool first = false;             ///< the cached part, if any, lies right before it
  bool last = false;              ///< completes the prompt
  std::int32_t cached_tokens = 0; ///< of the prompt
  std::vector<block_id> blocks;   ///< of positions 0 .. first_position + num_tokens - 1
};

struct micro_batch {
  std::uint64_t step = 0; ///< ascending from 0
  std::int32_t slot = 0;
  std::vector<chunk> chunks;
};

class prefill_planner {
public:
  prefill_planner(planner_limits limits, std::int32_t num_blocks);

  /// A request that is known already stays as it is.
  /// Errors  errc::invalid_argument: it could never have enough blocks, or rows of logits
  result<void> submit(prefill_prompt p);
  /// Nothing where no slot is free, nobody waits, or the first in line must wait for blocks.
  std::optional<micro_batch> plan();
  /// The step has left the last stage. A short step may overtake a long one of another slot.
  void complete(std::uint64_t step);
  /// No further chunk of it is planned; its blocks stay. Idempotent; unknown requests are ignored.
  void halt(request_id request);
  /// The prompt's KV is no longer needed, or no longer wanted. Idempotent; unknown requests are ignored.
  void release(request_id request);

  [[nodiscard]] block_books books() const noexcept { return cache_.pool().books(); }
  [[nodiscard]] std::int32_t in_flight() const noexcept { return std::int32_t(flying_.size()); }
  [[nodiscard]] std::int32_t waiting() const noexcept { return std::int32_t(queue_.size()); }

private:
  struct prompt {
    prefill_prompt about;
    std::int32_t planned = 0, cached = 0; ///< tokens
    std::vector<block_id> blocks;
  };
  struct step {
    std::int32_t slot;
    std::vector<block_id> blocks; ///< retained until it completes
  };

  /// All blocks of a prompt, or none.
  bool take_blocks(prompt& p);

  planner_limits limits_;
  prefix_cache cache_;
  std::map<request_id, prompt> prompts_;
  std::deque<request_id> queue_; ///< with tokens not yet planned
  std::set<std::int32_t> free_slots_;
  std::map<std::uint64_t, step> flying_; ///< by number
  std::uint64_t next_step_ = 0;
};

} // namespace quadrant::scheduler
