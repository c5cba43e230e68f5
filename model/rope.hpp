// model/rope.hpp: how positions turn queries and keys: the angles of each rule of scaling, and their tables.
//
//   pair i of a head of width d turns by position * f_i, f_i = theta^(-2i/d), changed by the rule:
//   plain   f_i
//   linear  f_i / factor
//   llama3  f_i * (m + (1-m) / factor)      m = clamp((turns - low) / (high - low), 0, 1), turns = context * f_i / 2 pi
//   yarn    f_i * (1-r + r / factor)        r = clamp((i - first) / (last - first), 0, 1), first and last from how often
//                                           a pair turns in the context: beta_fast and beta_slow times
// Scaling holds from position 0. The tables are of this project's own logarithm and sine: libm differs by processor.
// Source  arXiv:2309.00071 (YaRN); Llama 3.1's model card
#pragma once
#include <cstdint>
#include <vector>

#include "model/json_fields.hpp"

namespace quadrant::model {

struct rope_rule {
  enum class kind : std::uint8_t { plain, linear, llama3, yarn };
  kind how = kind::plain;
  double theta = 10000, factor = 1;
  double low_turns = 1, high_turns = 4; ///< llama3
  double beta_fast = 32, beta_slow = 1; ///< yarn
  std::int32_t context = 0;             ///< that the model was trained on before it was stretched
  double gain = 1;                      ///< of cosine and sine
  double score_gain = 1;                ///< of all scores (DeepSeek's mscale_all_dim, squared)
  bool operator==(const rope_rule&) const = default;
};

/// rope_theta and rope_scaling, or rope_parameters with both inside; what was wrong is noted in `read`.
/// deepseek: mscale and mscale_all_dim count.
rope_rule read_rope(json_fields& read, double default_theta, std::int32_t max_positions, bool deepseek = false);

/// Of every position: [positions, width / 2].
struct rope_tables {
  std::vector<float> cos, sin;
};
/// The calling thread must be prepared for arithmetic (gpu::team::prepare_thread).
rope_tables make_rope_tables(const rope_rule& rule, std::int32_t width, std::int32_t positions);

} // namespace quadrant::model
