#include "model/shard.hpp"

#include <algorithm>
#include <string>

namespace quadrant::model {

result<shard_shape> shape_of(const model_config& c, const shard_spec& s) {
  if (s.tp % s.kv_split != 0)
    return {errc::invalid_argument,
            "kv_split = " + std::to_string(s.kv_split) + " does not divide tp = " + std::to_string(s.tp)};
  const auto head_ranks = s.tp / s.kv_split, head_rank = s.tp_rank / s.kv_split;
  const auto ranks_of_heads = (s.kv_split == 1 ? "tp = " : "tp / kv_split = ") + std::to_string(head_ranks);
  const auto divides = [&](const char* what, std::int32_t n, std::int32_t by, const std::string& name) -> result<void> {
    if (n % by == 0) return {};
    return {errc::invalid_argument,
            std::string(what) + " of this model (" + std::to_string(n) + ") do not divide by " + name};
  };
  QUADRANT_TRY_VOID(divides("query heads", c.num_q_heads, head_ranks, ranks_of_heads));
  QUADRANT_TRY_VOID(divides("hidden columns", c.hidden_size, s.tp, "tp = " + std::to_string(s.tp)));
  QUADRANT_TRY_VOID(divides("vocabulary rows", c.vocab_size, s.tp, "tp = " + std::to_string(s.tp)));
  if (c.num_kv_heads % head_ranks != 0 && head_ranks % c.num_kv_heads != 0)
    return {errc::invalid_argument, "KV heads of this model (" + std::to_string(c.num_kv_heads) +
                                        ") neither divide by nor into " + ranks_of_heads};
  shard_shape shape{};
  shape.q_heads = c.num_q_heads / head_ranks;
  shape.first_q_head = head_rank * shape.q_heads;
  shape.kv_heads = std::max(1, c.num_kv_heads / head_ranks);
  shape.first_kv_head = head_rank * c.num_kv_heads / head_ranks;
  shape.projected_q = {shape.first_q_head, shape.q_heads};
  shape.projected_k = {shape.first_kv_head, shape.kv_heads};
  if (c.norm == qk_norm::width) {
    shape.projected_q = {0, c.num_q_heads};
    shape.projected_k = {0, c.num_kv_heads};
  }
  shape.hidden_part = c.hidden_size / s.tp;
  shape.vocab_part = c.vocab_size / s.tp;
  shape.embeds = s.first_layer == 0;
  shape.samples = s.end_layer == c.num_layers;
  return shape;
}

gpu::kv_layout kv_layout_of(const model_config& config, const shard_spec& spec, const shard_shape& shape,
                            const gpu::numerics& numerics, std::int32_t kv_blocks) {
  return gpu::kv_layout::keys_and_values(kv_blocks, spec.num_layers(), shape.kv_heads, config.key_dim(),
                                         config.value_dim(), numerics.kv);
}

shard_spec stage_of(const model_config& config, std::int32_t rank, std::int32_t stages) {
  const auto start = [&](std::int32_t r) {
    return r * (config.num_layers / stages) + std::min(r, config.num_layers % stages);
  };
  return {.first_layer = start(rank), .end_layer = start(rank + 1)};
}

} // namespace quadrant::model
