#include "model/families/families.hpp"

#include <algorithm>
#include <array>

namespace quadrant::model::families {

std::span<const family> all() {
  static constexpr std::array<family, 8> known{{{"deepseek_v2", deepseek_v2},
                                                {"deepseek_v3", deepseek_v3},
                                                {"llama", llama},
                                                {"mixtral", mixtral},
                                                {"olmoe", olmoe},
                                                {"qwen2_moe", qwen2_moe},
                                                {"qwen3", qwen3},
                                                {"qwen3_moe", qwen3_moe}}};
  return known;
}

void read_grouped_attention(json_fields& read, model_config& c, const attention_defaults& d) {
  c.num_kv_heads = read.integer("num_key_value_heads", 1, 1024, c.num_q_heads);
  c.head_dim = read.integer("head_dim", 2, 1024, d.head_dim > 0 ? d.head_dim : c.hidden_size / c.num_q_heads);
  c.rms_norm_eps = float(read.real("rms_norm_eps", 1e-12, 1, d.eps));
  c.rope = read_rope(read, d.theta, c.max_position_embeddings);
}

void read_experts(json_fields& read, model_config& c, const char* width) {
  constexpr std::int64_t wide = 1 << 20;
  const auto* count = read.find("num_experts") != nullptr ? "num_experts" : "num_local_experts";
  c.num_experts = read.integer(count, 0, 4096, 0);
  c.num_experts_per_tok = read.integer("num_experts_per_tok", c.num_experts > 0 ? 1 : 0, 64, 0);
  c.moe_intermediate_size = read.integer(width, c.num_experts > 0 ? 1 : 0, wide, 0);
  c.moe_layers.assign(std::size_t(c.num_layers), c.num_experts > 0);
}

void read_sparse_steps(json_fields& read, model_config& c) {
  const auto step = read.integer("decoder_sparse_step", 1, 1024, 1);
  for (std::int32_t layer = 0; layer < c.num_layers; ++layer)
    if ((layer + 1) % step != 0) c.moe_layers[std::size_t(layer)] = false;
  for (const auto layer : read.integers("mlp_only_layers", c.num_layers - 1)) c.moe_layers[std::size_t(layer)] = false;
}

void refuse_sliding_window(json_fields& read) {
  if (read.boolean("use_sliding_window", false))
    read.fail("use_sliding_window", "must be false: windows are not known yet", errc::unavailable);
}

} // namespace quadrant::model::families
