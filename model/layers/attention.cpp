// The attention of a layer: grouped queries, normalised and turned as the family does it.
#include "model/layers/program_writer.hpp"

namespace quadrant::model::layers {
namespace {

/// Floats of a row of qkv, and where in it k and v begin.
std::int64_t k_offset(const shard& s) { return std::int64_t(s.shape.projected_q.count) * s.config.head_dim; }
std::int64_t v_offset(const shard& s) {
  return k_offset(s) + std::int64_t(s.shape.projected_k.count) * s.config.head_dim;
}
std::int64_t qkv_stride(const shard& s) { return v_offset(s) + std::int64_t(s.shape.kv_heads) * s.config.head_dim; }

/// Norms over all heads of q and of k at once, then clips q, k and v: what OLMoE does before it turns.
void normalise_width(const shard& s, const step_env& e, gpu::team& team, const layer_weights& w) {
  auto& f = *e.f;
  const auto head = s.config.head_dim;
  const auto norm = [&](const float* x, const vector_ref& weight, std::int32_t heads, float* to) {
    e.ops->rms_norm(team, {.x = x,
                           .weight = weight->data(),
                           .eps = s.config.rms_norm_eps,
                           .rows = f.tokens,
                           .cols = heads * head,
                           .round_bf16 = false,
                           .f = to,
                           .out = {},
                           .x_stride = qkv_stride(s)});
  };
  norm(f.qkv, w.q_norm, s.shape.projected_q.count, f.wide_q);
  norm(f.qkv + k_offset(s), w.k_norm, s.shape.projected_k.count, f.wide_k);
  if (s.config.clip_qkv == 0) return;
  const auto clip = [&](float* x, std::int64_t stride, std::int32_t heads) {
    e.ops->clamp(team, {.x = x, .stride = stride, .rows = f.tokens, .cols = heads * head, .limit = s.config.clip_qkv});
  };
  clip(f.wide_q, k_offset(s), s.shape.projected_q.count);
  clip(f.wide_k, std::int64_t(s.shape.projected_k.count) * head, s.shape.projected_k.count);
  clip(f.qkv + v_offset(s), qkv_stride(s), s.shape.kv_heads);
}

/// Of this rank's heads.
void turn(const shard& s, const step_env& e, gpu::team& team, const layer_weights& w, bool bf16) {
  auto& f = *e.f;
  const auto& c = s.config;
  const bool wide = c.norm == qk_norm::width, per_head = c.norm == qk_norm::head;
  gpu::head_norm_rope_args rope{.x = wide ? f.wide_q + std::int64_t(s.shape.first_q_head) * c.head_dim : f.qkv,
                                .stride = wide ? k_offset(s) : qkv_stride(s),
                                .weight = per_head ? w.q_norm->data() : nullptr,
                                .eps = c.rms_norm_eps,
                                .cos = s.rope->cos.data(),
                                .sin = s.rope->sin.data(),
                                .positions = f.positions,
                                .tokens = f.tokens,
                                .heads = s.shape.q_heads,
                                .head_dim = c.head_dim,
                                .round_bf16 = bf16,
                                .scale_factor = inverse_root(c.head_dim),
                                .out = f.q.from_row(0)};
  e.ops->head_norm_rope(team, rope);
  rope.x = wide ? f.wide_k + std::int64_t(s.shape.first_kv_head) * c.head_dim : f.qkv + k_offset(s);
  if (wide) rope.stride = std::int64_t(s.shape.projected_k.count) * c.head_dim;
  rope.weight = per_head ? w.k_norm->data() : nullptr;
  rope.heads = s.shape.kv_heads;
  rope.scale_factor = 1;
  rope.out = {.f = f.k};
  e.ops->head_norm_rope(team, rope);
}

} // namespace

void input_norm(const shard& s, const step_env& e, gpu::team& team, const layer_weights& w, bool round_bf16) {
  auto& f = *e.f;
  e.ops->rms_norm(team, {.x = f.x,
                         .weight = w.input_norm->data(),
                         .eps = s.config.rms_norm_eps,
                         .rows = f.tokens,
                         .cols = s.config.hidden_size,
                         .round_bf16 = round_bf16,
                         .f = f.act.f,
                         .out = f.act.q ? f.act.from_row(0) : gpu::act_view{}});
}

void program_writer::attention(std::int32_t layer) {
  s_.config.is_latent() ? project_latent(layer) : project(layer);
  append_and_attend(layer);
  merge(layer);
  project_heads(layer);
}

void program_writer::project(std::int32_t layer) {
  const auto& w = s_.weights.layers[std::size_t(layer)];
  compute("qkv", [&s = s_, &w, bf16 = bf16_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto stride = qkv_stride(s);
    prefetch(e, team, *w.qkv, f.tokens);
    input_norm(s, e, team, w, bf16);
    e.ops->linear(team, {.x = f.act.from_row(0),
                         .rows = f.tokens,
                         .weight = w.qkv.get(),
                         .first_out = 0,
                         .num_out = std::int32_t(stride),
                         .y = f.qkv,
                         .y_stride = stride});
    prefetch(e, team, *w.o, f.tokens);
    if (s.config.norm == qk_norm::width) normalise_width(s, e, team, w);
    turn(s, e, team, w, bf16);
  });
}

void program_writer::append_and_attend(std::int32_t layer) {
  program_.pieces.emplace_back(kv_turn_piece{layer});
  compute("append_kv", [&s = s_, layer](env e, gpu::team& team) {
    auto& f = *e.f;
    const bool latent = s.config.is_latent(); // a key begins with its value
    const auto k_stride = std::int64_t(s.shape.kv_heads) * s.config.key_dim();
    e.ops->kv_append(team, {.k = f.k,
                            .v = latent ? f.k : f.qkv + v_offset(s),
                            .k_stride = k_stride,
                            .v_stride = latent ? k_stride : qkv_stride(s),
                            .sequences = f.sequences,
                            .num_sequences = f.num_sequences,
                            .pool = e.kv_pool,
                            .layout = s.kv,
                            .layer = layer,
                            .own = f.own});
  });
  program_.pieces.emplace_back(kv_ready_piece{layer});
  compute("attend", [&s = s_, layer](env e, gpu::team& team) {
    auto& f = *e.f;
    e.ops->attend(team, {.q = f.q.from_row(0),
                         .num_q_heads = s.shape.q_heads,
                         .sequences = f.sequences,
                         .num_sequences = f.num_sequences,
                         .pool = e.kv_pool,
                         .layout = s.kv,
                         .layer = layer,
                         .own = f.own,
                         .parts = f.parts,
                         .m = f.attn_m,
                         .l = f.attn_l,
                         .o = f.attn_o});
  });
}

/// Folds what attend left; with a split KV onto the state of the rank before, and on to the next.
void program_writer::merge(std::int32_t layer) {
  if (s_.spec.kv_rank() > 0) program_.pieces.emplace_back(receive_state_piece{});
  compute("merge", [&s = s_, &w = s_.weights.layers[std::size_t(layer)], bf16 = bf16_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto heads = s.shape.q_heads, value_dim = s.config.value_dim();
    const bool last = s.spec.merges_last();
    e.ops->merge(team, {.m = f.attn_m,
                        .l = f.attn_l,
                        .o = f.attn_o,
                        .parts = f.parts,
                        .tokens = f.tokens,
                        .heads = heads,
                        .head_dim = value_dim,
                        .before = s.spec.kv_rank() > 0 ? f.state_at(f.folded_before) : gpu::attention_state{},
                        .y = last ? f.attn : nullptr,
                        .after = last ? gpu::attention_state{} : f.state_at(f.folded)});
    if (!last) return;
    if (s.config.is_latent()) return leave_latent(s, e, team, w.latent, bf16);
    e.ops->quantise(
        team,
        {.x = f.attn, .rows = f.tokens, .cols = heads * value_dim, .round_bf16 = bf16, .out = f.heads.from_row(0)});
  });
  if (!s_.spec.merges_last()) program_.pieces.emplace_back(send_state_piece{});
}

void program_writer::project_heads(std::int32_t layer) {
  const auto& w = s_.weights.layers[std::size_t(layer)];
  gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
    const auto columns = s.shape.q_heads * s.config.output_dim();
    gpu::gather_op op{.arrays = {}, .rows = size.tokens, .every = s.spec.kv_split};
    if (f.heads.q)
      op.arrays = {array(f.heads.q, f.all_heads.q, columns), array(f.heads.scale, f.all_heads.scale, s.shape.q_heads)};
    else
      op.arrays = {array(f.heads.f, f.all_heads.f, columns)};
    return op;
  });
  compute("o_proj", [&s = s_, &w](env e, gpu::team& team) {
    auto& f = *e.f;
    e.ops->linear(team, {.x = f.all_heads.from_row(0),
                         .rows = f.tokens,
                         .weight = w.o.get(),
                         .first_out = 0,
                         .num_out = s.shape.hidden_part,
                         .y = f.proj_part,
                         .y_stride = s.shape.hidden_part});
  });
  gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
    return {.arrays = {array(f.proj_part, f.proj, s.shape.hidden_part)}, .rows = size.tokens};
  });
  compute("residual", [&s = s_](env e, gpu::team& team) {
    e.ops->add(team, {.x = e.f->x, .y = e.f->proj, .count = std::int64_t(e.f->tokens) * s.config.hidden_size});
  });
}

} // namespace quadrant::model::layers
