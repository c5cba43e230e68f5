// The FFN of a layer: dense, or routed experts and one that all rows pass.
#include "model/layers/program_writer.hpp"

namespace quadrant::model::layers {

void program_writer::ffn(std::int32_t layer) {
  s_.weights.layers[std::size_t(layer)].gate ? experts(layer) : dense(layer);
  gather_row_shares();
}

/// Norm of this rank's row share, in the form of the linears; also as f32 for a gate.
void program_writer::norm_share(std::int32_t layer, bool for_gate) {
  compute("post_norm", [&s = s_, layer, for_gate, bf16 = bf16_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto next = std::size_t(layer) + 1;
    if (next < s.weights.layers.size() && s.weights.layers[next].qkv)
      prefetch(e, team, *s.weights.layers[next].qkv, f.tokens);
    else if (next == s.weights.layers.size() && s.shape.samples)
      prefetch(e, team, *s.weights.head, f.num_logit_rows);
    const auto rows = s.share_of(f.tokens);
    e.ops->rms_norm(team, {.x = f.x + std::int64_t(rows.first) * s.config.hidden_size,
                           .weight = s.weights.layers[std::size_t(layer)].post_norm->data(),
                           .eps = s.config.rms_norm_eps,
                           .rows = rows.end - rows.first,
                           .cols = s.config.hidden_size,
                           .round_bf16 = bf16,
                           .f = f.act.q == nullptr ? f.act.f
                                : for_gate         ? f.normed
                                                   : nullptr,
                           .out = f.act.q ? f.act.from_row(0) : gpu::act_view{}});
  });
}

void program_writer::experts(std::int32_t layer) {
  const auto& w = s_.weights.layers[std::size_t(layer)];
  norm_share(layer, true);
  compute("route", [&s = s_, &w](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto& c = s.config;
    const auto rows = s.share_of(f.tokens);
    const auto count = rows.end - rows.first;
    e.ops->route(team, {.x = f.act.q ? f.normed : f.act.f,
                        .gate = w.gate.get(),
                        .tokens = count,
                        .num_experts = c.num_experts,
                        .top_k = c.num_experts_per_tok,
                        .how = c.router,
                        .bias = w.router_bias ? w.router_bias->data() : nullptr,
                        .expert = f.expert,
                        .weight = f.expert_weight});
    e.ops->moe_sort(team, {.expert = f.expert,
                           .tokens = count,
                           .top_k = c.num_experts_per_tok,
                           .num_experts = c.num_experts,
                           .offsets = f.offsets,
                           .token_of_row = f.token_of_row,
                           .row_of_pair = f.row_of_pair});
  });
  s_.spec.local_experts ? local_experts(layer) : remote_experts(layer);
  compute("combine", [&s = s_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto rows = s.share_of(f.tokens);
    e.ops->combine(team, {.rows = f.expert_rows,
                          .row_type = s.numerics.expert_row,
                          .row_of_pair = f.row_of_pair,
                          .weight = f.expert_weight,
                          .tokens = rows.end - rows.first,
                          .top_k = s.config.num_experts_per_tok,
                          .hidden = s.config.hidden_size,
                          .x = f.x + std::int64_t(rows.first) * s.config.hidden_size});
  });
  if (!w.shared.gate_up.empty()) shared_expert(layer);
}

void program_writer::local_experts(std::int32_t layer) {
  compute("experts", [&s = s_, layer](env e, gpu::team& team) {
    auto& f = *e.f;
    run_expert_ffn(*e.ops, team, s.numerics, s.ffn[std::size_t(layer)], f.act.from_row(0), f.token_of_row, f.offsets,
                   f.ffn, f.expert_rows);
  });
}

void program_writer::remote_experts(std::int32_t layer) {
  compute("sort_rows", [&s = s_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto rows = f.offsets[s.config.num_experts];
    const auto copy = [&](const auto* from, auto* to, std::int32_t cols) {
      e.ops->gather_rows(team, {.from = reinterpret_cast<const std::byte*>(from),
                                .row = f.token_of_row,
                                .rows = rows,
                                .row_bytes = cols * std::int32_t(sizeof(*to)),
                                .to = reinterpret_cast<std::byte*>(to)});
    };
    if (f.act.q == nullptr) return copy(f.act.f, f.sorted.f, s.config.hidden_size);
    copy(f.act.q, f.sorted.q, s.config.hidden_size);
    copy(f.act.scale, f.sorted.scale, 1);
  });
  program_.pieces.emplace_back(
      experts_piece{[&s = s_, layer = s_.spec.first_layer + layer](frame& f) -> gpu::expert_op {
        const bool int8 = f.sorted.q != nullptr;
        const auto hidden = s.config.hidden_size;
        return {.layer = layer,
                .num_experts = s.config.num_experts,
                .offsets = f.offsets,
                .rows = int8 ? reinterpret_cast<std::byte*>(f.sorted.q) : reinterpret_cast<std::byte*>(f.sorted.f),
                .scales = f.sorted.scale,
                .row_bytes = hidden * std::int32_t(int8 ? 1 : sizeof(float)),
                .out = f.expert_rows,
                .out_row_bytes = hidden * std::int32_t(bits(s.numerics.expert_row) / 8)};
      }});
}

void program_writer::run_ffn(const shard& s, env e, gpu::team& team, const ffn_weights& w, std::int32_t rows) {
  auto& f = *e.f;
  const auto mid = f.ffn.mid.for_width(w.down_ptr[0]->in);
  const std::int32_t offsets[] = {0, rows};
  e.ops->gate_up(team, {.x = f.act.from_row(0),
                        .x_row = nullptr,
                        .offsets = offsets,
                        .num_experts = 1,
                        .weight = w.gate_up_ptr.data(),
                        .round_bf16 = s.numerics.activation == gpu::dtype::bf16,
                        .gate_up = f.ffn.gate_up,
                        .out = mid.from_row(0)});
  e.ops->linear(team, {.x = mid.from_row(0),
                       .rows = rows,
                       .weight = w.down_ptr[0],
                       .first_out = 0,
                       .num_out = s.config.hidden_size,
                       .y = f.proj,
                       .y_stride = s.config.hidden_size});
}

void program_writer::dense(std::int32_t layer) {
  norm_share(layer, false);
  compute("mlp", [&s = s_, layer](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto rows = s.share_of(f.tokens);
    const auto count = rows.end - rows.first, hidden = s.config.hidden_size;
    run_ffn(s, e, team, s.ffn[std::size_t(layer)], count);
    e.ops->add(team,
               {.x = f.x + std::int64_t(rows.first) * hidden, .y = f.proj, .count = std::int64_t(count) * hidden});
  });
}

/// Of every row, whatever experts it has; with a gate, as much as that says.
void program_writer::shared_expert(std::int32_t layer) {
  const auto& w = s_.weights.layers[std::size_t(layer)];
  compute("shared_expert", [&s = s_, &w](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto rows = s.share_of(f.tokens);
    const auto count = rows.end - rows.first, hidden = s.config.hidden_size;
    auto* x = f.x + std::int64_t(rows.first) * hidden;
    run_ffn(s, e, team, w.shared, count);
    if (!w.shared_gate) return e.ops->add(team, {.x = x, .y = f.proj, .count = std::int64_t(count) * hidden});
    e.ops->linear(team, {.x = {.f = f.act.q ? f.normed : f.act.f},
                         .rows = count,
                         .weight = w.shared_gate.get(),
                         .first_out = 0,
                         .num_out = 1,
                         .y = f.shared_gate,
                         .y_stride = 1});
    e.ops->add_gated(team, {.x = x, .y = f.proj, .gate = f.shared_gate, .rows = count, .cols = hidden});
  });
}

/// After an FFN each rank has only its share of the rows of x; the last shares are padded.
void program_writer::gather_row_shares() {
  gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
    const auto rows = s.share_of(size.tokens);
    const auto words = rows.part * s.config.hidden_size;
    return {.arrays = {array(f.x + std::int64_t(s.spec.tp_rank) * words, f.x, words)}, .rows = 1};
  });
}

} // namespace quadrant::model::layers
