// The tensors of a checkpoint, as Hugging Face names them.
#include <utility>

#include "model/family.hpp"

namespace quadrant::model {

std::vector<tensor_shape> tensors_of(const model_config& c) {
  std::vector<tensor_shape> list;
  const auto norm = [&](const std::string& name, std::int64_t size) {
    list.push_back({name + ".weight", {size}, true});
  };
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias = false) {
    list.push_back({name + ".weight", {out, in}});
    if (bias) list.push_back({name + ".bias", {out}});
  };
  const auto ffn = [&](const tensor_names& names, const std::string& at, std::int64_t width, bool bias = false) {
    linear(at + names.gate_proj, width, c.hidden_size, bias);
    linear(at + names.up_proj, width, c.hidden_size, bias);
    linear(at + names.down_proj, c.hidden_size, width, bias);
  };
  linear("model.embed_tokens", c.vocab_size, c.hidden_size);
  for (std::int32_t layer = 0; layer < c.num_layers; ++layer) {
    const auto at = "model.layers." + std::to_string(layer) + ".";
    norm(at + "input_layernorm", c.hidden_size);
    if (c.is_latent()) {
      const auto& l = c.latent;
      const auto heads = std::int64_t(c.num_q_heads);
      if (l.query_rank > 0) {
        linear(at + "self_attn.q_a_proj", l.query_rank, c.hidden_size, c.qkv_bias);
        norm(at + "self_attn.q_a_layernorm", l.query_rank);
      }
      linear(at + (l.query_rank > 0 ? "self_attn.q_b_proj" : "self_attn.q_proj"), heads * (l.plain + l.turned),
             l.query_rank > 0 ? l.query_rank : c.hidden_size);
      linear(at + "self_attn.kv_a_proj_with_mqa", l.rank + l.turned, c.hidden_size, c.qkv_bias);
      norm(at + "self_attn.kv_a_layernorm", l.rank);
      linear(at + "self_attn.kv_b_proj", heads * (l.plain + l.value), l.rank);
    }
    for (const auto& [name, heads] : {std::pair{"q", c.num_q_heads}, {"k", c.num_kv_heads}, {"v", c.num_kv_heads}})
      if (!c.is_latent())
        linear(at + "self_attn." + name + "_proj", std::int64_t(heads) * c.head_dim, c.hidden_size, c.qkv_bias);
    if (c.norm != qk_norm::none) {
      const bool wide = c.norm == qk_norm::width;
      norm(at + "self_attn.q_norm", std::int64_t(wide ? c.num_q_heads : 1) * c.head_dim);
      norm(at + "self_attn.k_norm", std::int64_t(wide ? c.num_kv_heads : 1) * c.head_dim);
    }
    linear(at + "self_attn.o_proj", c.hidden_size, std::int64_t(c.num_q_heads) * c.output_dim(), c.o_bias);
    norm(at + "post_attention_layernorm", c.hidden_size);
    if (!c.is_moe_layer(layer)) {
      ffn({}, at + "mlp.", c.intermediate_size, c.mlp_bias);
      continue;
    }
    linear(at + c.names.ffn + "gate", c.num_experts, c.hidden_size);
    if (c.router_bias) list.push_back({at + "mlp.gate.e_score_correction_bias", {c.num_experts}});
    for (std::int32_t e = 0; e < c.num_experts; ++e)
      ffn(c.names, at + c.names.ffn + "experts." + std::to_string(e) + ".", c.moe_intermediate_size);
    if (c.shared_intermediate_size > 0) ffn({}, at + c.names.shared, c.shared_intermediate_size);
    if (c.shared_gate) linear(at + "mlp.shared_expert_gate", 1, c.hidden_size);
  }
  norm("model.norm", c.hidden_size);
  if (!c.tie_word_embeddings) linear("lm_head", c.vocab_size, c.hidden_size);
  return list;
}

} // namespace quadrant::model
