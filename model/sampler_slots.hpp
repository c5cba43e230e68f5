// model/sampler_slots.hpp: what a device keeps of each sequence to sample by: its rules, its answer so far, and what that
// lets come next.
//
// A step's input token is the newest of the answer, and only the device may know it: so the answer is written down on the
// stream, when a step begins. Masks of a grammar are made meanwhile by a thread of the host, while the stream runs the
// forward pass; only the sampling waits for them.
//
//   stream   begin ─▶ forward pass ─────────────▶ wait for masks ─▶ sample
//   host       └────▶ advance, mask, … ─▶ fire ───────┘
//
// Threads begin, rules: the stream of the slot's micro-batch; several streams may run, but a slot belongs to one
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "gpu/event.hpp"
#include "gpu/sampling.hpp"
#include "model/grammar/grammar.hpp"

namespace quadrant::model {

struct batch;

/// Said once for a request: what changes its logits beside the numbers of gpu::sampling.
struct sampling_rules {
  bool counts_tokens = false;       ///< a penalty looks at the answer so far
  std::vector<std::int32_t> prompt; ///< its ids, where repetition is penalised
  std::vector<gpu::logit_bias> bias;
  std::vector<std::int32_t> banned; ///< for positions below banned_until
  std::int32_t banned_until = 0;
  bool json_object = false; ///< the answer is one
  std::int32_t top_logprobs = -1;
};

class sampler_slots {
public:
  /// Runs a task soon, in order, on a thread of the host; or at once.
  using background = std::function<void(std::function<void()>)>;
  /// The grammar of JSON objects, or null: then no token may come in an answer that must be one. Called by tasks.
  using grammar_source = std::function<std::shared_ptr<const grammar>()>;

  sampler_slots(
      std::int32_t count, std::int32_t vocab, background run = [](const std::function<void()>& task) { task(); },
      grammar_source json = [] { return nullptr; })
      : slots_(std::size_t(count)), nothing_(std::size_t(vocab + 63) / 64, 0), run_(std::move(run)),
        json_(std::move(json)) {}

  /// Writes the rules of each output of a step, and returns what they point to beside the slots. input[i]: the token of
  /// its row; position[i]: the one that the new token takes. `masks`, where the step has one, fires when the rules have
  /// their masks.
  std::shared_ptr<const void> begin(const batch& step, const std::int32_t* input, const std::int32_t* position,
                                    gpu::logit_rules* rules, const gpu::event* masks);

private:
  struct entry {
    std::shared_ptr<const sampling_rules> rules{};
    std::vector<std::int32_t> made{}; ///< where the rules count tokens
    std::unique_ptr<grammar_state> form{};
    token_mask mask{}; ///< while the step is under way
  };
  struct wanted_mask {
    entry* of;
    std::int32_t token; ///< to advance by; -1: none
    bool starts;
    gpu::logit_rules* to;
  };
  void make(const wanted_mask& wanted) const;

  std::vector<entry> slots_;
  std::vector<std::uint64_t> nothing_; ///< a mask
  background run_;
  grammar_source json_;
};

} // namespace quadrant::model
