// model/families/families.hpp: the model families that are known: what their config.json means. A family is one file with
// one function, and a line in families.cpp.
//
//   config.json ─▶ what all have (model_config.cpp) ─▶ the family's function ─▶ model_config ─▶ weights, step program
//
// Source  test/golden/FAMILIES.md has the formulas, defaults and traps of each, and where they were read
#pragma once
#include <span>

#include "model/json_fields.hpp"
#include "model/model_config.hpp"

namespace quadrant::model::families {

/// Fills what is the family's own; `c` has the sizes that all have. What is wrong is noted in `read`.
using reader = void (*)(json_fields& read, model_config& c);
struct family {
  const char* model_type;
  reader read;
};
std::span<const family> all();

void deepseek_v2(json_fields& read, model_config& c);
void deepseek_v3(json_fields& read, model_config& c);
void llama(json_fields& read, model_config& c);
void mixtral(json_fields& read, model_config& c);
void olmoe(json_fields& read, model_config& c);
void qwen2_moe(json_fields& read, model_config& c);
void qwen3(json_fields& read, model_config& c);
void qwen3_moe(json_fields& read, model_config& c);

// What several families have in common.

/// Heads, their width, RMSNorm's epsilon, positions. head_dim 0: hidden_size over the heads.
struct attention_defaults {
  double eps = 1e-6, theta = 10000;
  std::int32_t head_dim = 0;
};
void read_grouped_attention(json_fields& read, model_config& c, const attention_defaults& d = {});
/// Expert count under any of its names, experts a token, their width under `width`.
void read_experts(json_fields& read, model_config& c, const char* width);
/// Which layers have experts, as Qwen says it.
void read_sparse_steps(json_fields& read, model_config& c);
void refuse_sliding_window(json_fields& read);

} // namespace quadrant::model::families
