#include "model/family.hpp"

#include <algorithm>

#include "config/progress.hpp"
#include "model/layers/program_writer.hpp"

namespace quadrant::model {
shard::row_share shard::share_of(std::int32_t tokens) const noexcept {
  const auto part = (tokens + spec.tp - 1) / spec.tp;
  return {std::min(tokens, spec.tp_rank * part), std::min(tokens, (spec.tp_rank + 1) * part), part};
}

result<std::shared_ptr<const shard>> load_shard(weight_cache& weights, const shard_spec& spec, std::int32_t kv_blocks) {
  const auto packers = weights.packers(); // for all layers
  auto s = std::make_shared<shard>();
  s->config = weights.config();
  s->numerics = weights.numerics();
  s->spec = spec;
  QUADRANT_TRY(s->shape, shape_of(s->config, spec));
  s->kv = kv_layout_of(s->config, spec, s->shape, s->numerics, kv_blocks);
  QUADRANT_TRY(s->weights, weights.attention(spec));
  for (auto layer = spec.first_layer; layer < spec.end_layer; ++layer) {
    progress::report("loading weights", std::uint64_t(layer - spec.first_layer), std::uint64_t(spec.num_layers()),
                     "layers");
    ffn_weights ffn;
    const bool moe = s->config.is_moe_layer(layer);
    if (!moe || spec.local_experts) {
      QUADRANT_TRY(ffn, weights.ffn(layer, 0, moe ? s->config.num_experts : 1));
    }
    s->ffn.push_back(std::move(ffn));
  }
  progress::report("loading weights", 1, 1, "layers");
  s->rope = weights.rope();
  s->program = layers::write_program(*s);
  return std::shared_ptr<const shard>(std::move(s));
}

void run_expert_ffn(const gpu::ops_table& ops, gpu::team& team, const gpu::numerics& numerics,
                    const ffn_weights& weights, gpu::act_view x, const std::int32_t* x_row, const std::int32_t* offsets,
                    const expert_scratch& scratch, std::byte* out) {
  const auto num_experts = std::int32_t(weights.gate_up_ptr.size());
  const auto rows = offsets[num_experts] - offsets[0];
  if (rows == 0) return;
  const auto mid = scratch.mid.for_width(weights.down_ptr[0]->in);
  ops.gate_up(team, {.x = x,
                     .x_row = x_row,
                     .offsets = offsets,
                     .num_experts = num_experts,
                     .weight = weights.gate_up_ptr.data(),
                     .round_bf16 = numerics.activation == gpu::dtype::bf16,
                     .gate_up = scratch.gate_up,
                     .out = mid.from_row(0)});
  ops.grouped_linear(team, {.x = mid.from_row(0),
                            .x_row = nullptr,
                            .offsets = offsets,
                            .num_experts = num_experts,
                            .weight = weights.down_ptr.data(),
                            .y = out,
                            .y_type = numerics.expert_row});
}

} // namespace quadrant::model
