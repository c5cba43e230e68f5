// model/bench/grammar_bench.hpp: how long a mask takes, and what a grammar costs a model in time and memory.
//
//   worked_out   from nothing kept: the first time that any sequence comes to such a state
//   kept         every other time
//
// Units   microseconds, the median of some rounds; `place` is the text before the token
#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "config/result.hpp"
#include "model/tokenizer.hpp"

namespace quadrant::model::bench {

struct grammar_costs { ///< of one model, once
  std::int32_t tokens = 0;
  double build_ms = 0;
  std::size_t memory_bytes = 0;
  std::size_t mask_bytes = 0, masks_at_most = 0;
};
struct mask_times { ///< of one place in a text
  std::string place;
  std::size_t num_allowed = 0;
  double worked_out_us = 0, kept_us = 0;
};

/// Errors  those of grammar_vocabulary and json_object_grammar
result<void> bench_json_grammar(const tokenizer& tokens, const std::function<void(const grammar_costs&)>& built,
                                const std::function<void(const mask_times&)>& measured);

} // namespace quadrant::model::bench
