// Qwen2-MoE: grouped queries with a bias on q, k and v; softmax over the experts, beside a shared one with a gate.
// Source  Qwen1.5-MoE, arXiv:2407.10671
#include "model/families/families.hpp"

namespace quadrant::model::families {

void qwen2_moe(json_fields& read, model_config& c) {
  read_grouped_attention(read, c);
  c.qkv_bias = read.boolean("qkv_bias", true);
  refuse_sliding_window(read);
  read_experts(read, c, "moe_intermediate_size");
  read_sparse_steps(read, c);
  c.router.renormalise = read.boolean("norm_topk_prob", false);
  c.shared_intermediate_size = read.integer("shared_expert_intermediate_size", 1, 1 << 20);
  c.shared_gate = true;
}

} // namespace quadrant::model::families
