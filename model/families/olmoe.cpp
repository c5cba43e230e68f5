// OLMoE: q and k normalised over all heads at once, then q, k and v clipped; experts in every layer.
// Source  arXiv:2409.02060
#include "model/families/families.hpp"

namespace quadrant::model::families {

void olmoe(json_fields& read, model_config& c) {
  read_grouped_attention(read, c, {.eps = 1e-5});
  c.norm = qk_norm::width;
  c.clip_qkv = float(read.real("clip_qkv", 0, 1e6, 0));
  c.qkv_bias = c.o_bias = read.boolean("attention_bias", false);
  read_experts(read, c, "intermediate_size");
  c.router.renormalise = read.boolean("norm_topk_prob", false);
}

} // namespace quadrant::model::families
