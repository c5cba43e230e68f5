// Mixtral: grouped queries; experts in every layer, top-k of a softmax that is always renormalised.
// Source  arXiv:2401.04088
#include "model/families/families.hpp"

namespace quadrant::model::families {

void mixtral(json_fields& read, model_config& c) {
  read_grouped_attention(read, c, {.eps = 1e-5, .theta = 1e6});
  if (read.find("sliding_window") != nullptr)
    read.fail("sliding_window", "must be null: windows are not known yet", errc::unavailable);
  read_experts(read, c, "intermediate_size");
  c.router.renormalise = true;
  c.names = {.ffn = "block_sparse_moe.", .gate_proj = "w1", .up_proj = "w3", .down_proj = "w2", .shared = {}};
}

} // namespace quadrant::model::families
