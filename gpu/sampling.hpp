// gpu/sampling.hpp: by what a token is chosen: numbers, and rules that change a row of logits first. The formulas are the
// contract of every back-end (rules 12, 13 of the numerics; sample_args in gpu/ops.hpp says in which order).
#pragma once
#include <cstdint>
#include <span>

namespace quadrant::gpu {

struct sampling {
  float temperature = 0; ///< 0: greedy
  float top_p = 1, min_p = 0;
  std::int32_t top_k = 0; ///< 0: all
  std::uint64_t seed = 0;
  std::uint32_t sample_index = 0;
  float presence = 0, frequency = 0; ///< penalties for tokens of the answer: once, and for each time
  float repetition = 1;              ///< penalty for tokens of the prompt and the answer; 1: none
};

struct logit_bias {
  std::int32_t id;
  float bias;
};

/// log softmax of one logit among its row, before any filter.
struct token_logprob {
  std::int32_t id;
  float logprob;
};

/// What changes one row of logits before it is filtered, in this order:
///   repetition  of each id in `prompt` or `made`: l > 0 ? l / r : l * r
///   presence, frequency  of each id that is n times in `made`: l -= fma(frequency, n, presence)
///   bias        l += bias, one after the other
///   mask        -inf where bit id % 64 of word id / 64 is not set
///   banned      -inf, unless that leaves nothing
/// Ids are below V.
struct logit_rules {
  std::span<const std::int32_t> prompt{}, made{};
  std::span<const logit_bias> bias{};
  const std::uint64_t* mask = nullptr; ///< null: all may come
  std::span<const std::int32_t> banned{};
  std::int32_t top_logprobs = -1; ///< of so many tokens, and the chosen one; -1: none
};
inline constexpr std::int32_t max_top_logprobs = 20;

} // namespace quadrant::gpu
