// Latent attention, absorbed in both phases: queries are carried into the latent's space, attend over what is kept of each
// token, and what they bring is carried out of it. So prefill and decode compute the same numbers, and nothing of a head
// is kept.
//
//   score(t, s) = (A_h q_n) . z_s + q_r . k_r,s      A_h [rank, plain] and B_h [value, rank]: kv_b_proj of head h, apart
//   head h      = B_h sum_s p(t, s) z_s
//
// Source  arXiv:2405.04434, section 2.1
#include "model/layers/program_writer.hpp"

namespace quadrant::model::layers {
namespace {

constexpr float low_rank_eps = 1e-6f; ///< of the norms of low ranks, whatever rms_norm_eps says

void project_query(const shard& s, const step_env& e, gpu::team& team, const latent_weights& w, bool bf16) {
  auto& f = *e.f;
  const auto& l = s.config.latent;
  const auto linear = [&](const gpu::act_view& x, const weight_ref& weight, float* y) {
    e.ops->linear(team, {.x = x,
                         .rows = f.tokens,
                         .weight = weight.get(),
                         .first_out = 0,
                         .num_out = weight->out,
                         .y = y,
                         .y_stride = weight->out});
  };
  auto x = f.act.from_row(0);
  if (w.q_a) {
    linear(x, w.q_a, f.q_low);
    x = f.q_low_act.from_row(0);
    e.ops->rms_norm(team, {.x = f.q_low,
                           .weight = w.q_norm->data(),
                           .eps = low_rank_eps,
                           .rows = f.tokens,
                           .cols = l.query_rank,
                           .round_bf16 = bf16,
                           .f = x.f,
                           .out = x.q ? x : gpu::act_view{}});
  }
  linear(x, w.q_plain, f.q_plain);
  linear(x, w.q_turned, f.q_turned);
  linear(f.act.from_row(0), w.kv_a, f.kv_low);
}

/// y[h * T + t] = weight[h] x[t, h], for rows x [T, Hq, weight->in].
void by_head(const shard& s, const step_env& e, gpu::team& team, float* x,
             const std::vector<const gpu::packed_weight*>& weight) {
  auto& f = *e.f;
  const auto heads = s.shape.q_heads;
  for (std::int32_t h = 0, row = 0; h < heads; ++h) {
    f.head_offsets[h] = row;
    for (std::int32_t t = 0; t < f.tokens; ++t) f.head_rows[row++] = t * heads + h;
  }
  f.head_offsets[heads] = heads * f.tokens;
  e.ops->grouped_linear(team, {.x = {.f = x},
                               .x_row = f.head_rows,
                               .offsets = f.head_offsets,
                               .num_experts = heads,
                               .weight = weight.data(),
                               .y = f.by_head,
                               .y_type = gpu::dtype::f32});
}

} // namespace

void program_writer::project_latent(std::int32_t layer) {
  const auto& w = s_.weights.layers[std::size_t(layer)];
  compute("latent_qkv", [&s = s_, &w, bf16 = bf16_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto& c = s.config;
    const auto& l = c.latent;
    input_norm(s, e, team, w, bf16);
    project_query(s, e, team, w.latent, bf16);
    const std::int64_t low = l.rank + l.turned, heads = s.shape.q_heads;
    gpu::join_rope_args rope{.a = f.kv_low,
                             .a_row = low,
                             .a_head = 0,
                             .a_dim = l.rank,
                             .weight = w.latent.kv_norm->data(),
                             .eps = low_rank_eps,
                             .b = f.kv_low + l.rank,
                             .b_row = low,
                             .b_head = 0,
                             .b_dim = l.turned,
                             .pairs = l.pairs,
                             .cos = s.rope->cos.data(),
                             .sin = s.rope->sin.data(),
                             .positions = f.positions,
                             .tokens = f.tokens,
                             .heads = 1,
                             .round_bf16 = bf16,
                             .factor = 1,
                             .out = {.f = f.k}};
    e.ops->join_rope(team, rope);
    by_head(s, e, team, f.q_plain, w.latent.key_ptr);
    rope.a = f.by_head;
    rope.a_row = l.rank;
    rope.a_head = std::int64_t(f.tokens) * l.rank;
    rope.weight = nullptr;
    rope.b = f.q_turned;
    rope.b_row = heads * l.turned;
    rope.b_head = l.turned;
    rope.heads = s.shape.q_heads;
    rope.factor = inverse_root(l.plain + l.turned) * float(c.rope.score_gain);
    rope.out = f.q.from_row(0);
    e.ops->join_rope(team, rope);
  });
}

void leave_latent(const shard& s, const step_env& e, gpu::team& team, const latent_weights& w, bool round_bf16) {
  auto& f = *e.f;
  const auto value = s.config.latent.value;
  by_head(s, e, team, f.attn, w.value_ptr);
  e.ops->join_rope(team, {.a = f.by_head,
                          .a_row = value,
                          .a_head = std::int64_t(f.tokens) * value,
                          .a_dim = value,
                          .weight = nullptr,
                          .eps = 0,
                          .b = f.by_head,
                          .b_row = 0,
                          .b_head = 0,
                          .b_dim = 0,
                          .pairs = false,
                          .cos = s.rope->cos.data(),
                          .sin = s.rope->sin.data(),
                          .positions = f.positions,
                          .tokens = f.tokens,
                          .heads = s.shape.q_heads,
                          .round_bf16 = round_bf16,
                          .factor = 1,
                          .out = f.heads.from_row(0)});
}

} // namespace quadrant::model::layers
