// Llama 2 and 3, and what is built like them, dense.
// Source  arXiv:2407.21783
#include "model/families/families.hpp"

namespace quadrant::model::families {

void llama(json_fields& read, model_config& c) {
  read_grouped_attention(read, c);
  c.qkv_bias = c.o_bias = read.boolean("attention_bias", false);
  c.mlp_bias = read.boolean("mlp_bias", false);
}

} // namespace quadrant::model::families
