// Qwen3, dense: grouped queries with RMSNorm on each head of q and k.
// Source  arXiv:2505.09388
#include "model/families/families.hpp"

namespace quadrant::model::families {

void qwen3(json_fields& read, model_config& c) {
  read_grouped_attention(read, c, {.head_dim = 128});
  c.norm = qk_norm::head;
  c.qkv_bias = c.o_bias = read.boolean("attention_bias", false);
  refuse_sliding_window(read);
}

} // namespace quadrant::model::families
