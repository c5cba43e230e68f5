// DeepSeek-V2 and V3: latent attention; some dense layers, then experts chosen within the best groups of them, beside
// shared ones that all rows pass.
// Source  arXiv:2405.04434, arXiv:2412.19437
#include <algorithm>
#include <string>
#include <utility>

#include "model/families/families.hpp"

namespace quadrant::model::families {
namespace {

void read_latent_attention(json_fields& read, model_config& c) {
  constexpr std::int64_t wide = 1 << 14;
  auto& l = c.latent;
  l.rank = read.integer("kv_lora_rank", 1, wide);
  // Silence means 1536; null means none.
  l.query_rank = read.has_null("q_lora_rank") ? 0 : read.integer("q_lora_rank", 1, wide, 1536);
  l.plain = read.integer("qk_nope_head_dim", 1, wide);
  l.turned = read.integer("qk_rope_head_dim", 2, wide);
  l.value = read.integer("v_head_dim", 1, wide);
  c.num_kv_heads = 1; // what is kept serves all heads
  c.head_dim = l.plain + l.turned;
  c.rms_norm_eps = float(read.real("rms_norm_eps", 1e-12, 1, 1e-6));
  c.rope = read_rope(read, 10000, c.max_position_embeddings, true);
  c.qkv_bias = c.o_bias = read.boolean("attention_bias", false);
  for (const auto& [key, value] : {std::pair{"kv_lora_rank", l.rank}, {"qk_rope_head_dim", l.turned}})
    read.need(value % 16 == 0, key, "must be a multiple of 16");
  for (const auto& [key, value] : {std::pair{"qk_nope_head_dim", l.plain}, {"v_head_dim", l.value}})
    read.need(value % 8 == 0, key, "must be a multiple of 8");
  read.need(l.query_rank % 32 == 0, "q_lora_rank", "must be a multiple of 32");
}

/// `dense`, `shared`: how many where config.json is silent.
void read_deepseek_experts(json_fields& read, model_config& c, std::int64_t dense, std::int64_t shared) {
  c.num_experts = read.integer("n_routed_experts", 0, 4096, 0);
  c.num_experts_per_tok = read.integer("num_experts_per_tok", c.num_experts > 0 ? 1 : 0, 64, 0);
  c.moe_intermediate_size = read.integer("moe_intermediate_size", c.num_experts > 0 ? 1 : 0, 1 << 20, 0);
  const auto first = read.integer("first_k_dense_replace", 0, 1024, dense);
  const auto every = read.integer("moe_layer_freq", 1, 1024, 1);
  for (std::int32_t layer = 0; layer < c.num_layers; ++layer)
    c.moe_layers.push_back(c.num_experts > 0 && layer >= first && layer % every == 0);
  const auto num_shared = read.has_null("n_shared_experts") ? 0 : read.integer("n_shared_experts", 0, 64, shared);
  c.shared_intermediate_size = num_shared * c.moe_intermediate_size;
  c.names.shared = "mlp.shared_experts.";
  c.router.epsilon = 1e-20f;
}

/// Within which groups experts are chosen.
void read_groups(json_fields& read, model_config& c, std::int64_t groups, std::int64_t kept) {
  c.router.groups = read.integer("n_group", 1, 1024, groups);
  c.router.kept_groups = read.integer("topk_group", 1, 1024, kept);
  const auto most = std::max(1, c.router.groups);
  read.need(c.num_experts % most == 0, "n_group",
            "must divide n_routed_experts (" + std::to_string(c.num_experts) + ")");
  read.need(c.router.kept_groups <= most, "topk_group", "must be at most n_group (" + std::to_string(most) + ")");
  read.need(c.num_experts / most * c.router.kept_groups >= c.num_experts_per_tok, "topk_group",
            "must leave at least num_experts_per_tok (" + std::to_string(c.num_experts_per_tok) + ") experts");
}

void want(json_fields& read, const char* key, std::string_view only) {
  if (const auto* value = read.find(key); value != nullptr && *value != only)
    read.fail(key, "must be \"" + std::string(only) + "\", the one way known here", errc::unavailable);
}

} // namespace

void deepseek_v2(json_fields& read, model_config& c) {
  read_latent_attention(read, c);
  read_deepseek_experts(read, c, 0, 2);
  c.router.renormalise = read.boolean("norm_topk_prob", false);
  c.router.scale = float(read.real("routed_scaling_factor", 1e-6, 1e6, 1));
  want(read, "scoring_func", "softmax");
  const auto* method = read.find("topk_method");
  if (method != nullptr && *method == "group_limited_greedy")
    read_groups(read, c, 1, 1);
  else if (method != nullptr && *method != "greedy")
    read.fail("topk_method", "must be \"greedy\" or \"group_limited_greedy\", the ways known here", errc::unavailable);
}

void deepseek_v3(json_fields& read, model_config& c) {
  read_latent_attention(read, c);
  c.latent.pairs = read.boolean("rope_interleave", true);
  read_deepseek_experts(read, c, 3, 1);
  c.router.sigmoid = c.router.group_by_two = c.router_bias = true;
  c.router.renormalise = read.boolean("norm_topk_prob", true);
  c.router.scale = float(read.real("routed_scaling_factor", 1e-6, 1e6, 2.5));
  want(read, "scoring_func", "sigmoid");
  want(read, "topk_method", "noaux_tc");
  read_groups(read, c, 8, 4);
  read.need(c.num_experts / std::max(1, c.router.groups) >= 2, "n_group", "must leave two experts in each");
}

} // namespace quadrant::model::families
