// Qwen3-MoE: grouped queries with RMSNorm on each head of q and k; softmax over the experts.
// Source  arXiv:2505.09388
#include "model/families/families.hpp"

namespace quadrant::model::families {

void qwen3_moe(json_fields& read, model_config& c) {
  read_grouped_attention(read, c);
  c.norm = qk_norm::head;
  c.qkv_bias = c.o_bias = read.boolean("attention_bias", false);
  refuse_sliding_window(read);
  read_experts(read, c, "moe_intermediate_size");
  read_sparse_steps(read, c);
  c.router.renormalise = read.boolean("norm_topk_prob", false);
}

} // namespace quadrant::model::families
