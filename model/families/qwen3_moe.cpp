// Qwen3-MoE: grouped-query attention with RMSNorm on each head of q and k, rotate-half RoPE, softmax top-k experts.
//
//   x ─ norm ─ qkv ─ head norm, RoPE ─ append KV ─ attend ─ merge ─┤gather heads├─ o ─┤gather columns├─ + x
//                                 with a split KV: ┤state of the rank before├─ merge ─┤state to the next├
//   x ─ norm ─ route ─ sort ─ experts (here, or ┤dispatch, combine├) ─ + x ─┤gather rows├
//
// With tensor parallelism every rank holds all of x; it owns some heads, some output columns, and routes some rows. Ranks
// that share heads by a split of their KV all compute q, k, v of these: less than a further exchange would cost.
// Source  arXiv:2505.09388 (Qwen3), shapes as in the Hugging Face checkpoint
#include "gpu/math.hpp"
#include "model/family.hpp"

namespace quadrant::model::families {
namespace {

/// 1 / sqrt(n): exact operations only.
float inverse_root(std::int32_t n) { return 1.0f / std::sqrt(float(n)); }

class writer {
public:
  explicit writer(const shard& s) : s_(s), bf16_(s.numerics.activation == gpu::dtype::bf16) {
    program_.num_layers = s.spec.num_layers();
    program_.hidden_size = s.config.hidden_size;
    program_.state_words = s.shape.q_heads * (s.config.head_dim + 2);
  }

  step_program write() && {
    if (s_.shape.embeds)
      embed();
    else
      program_.pieces.emplace_back(receive_piece{});
    for (std::int32_t layer = 0; layer < s_.spec.num_layers(); ++layer) {
      attention(layer);
      s_.weights.layers[std::size_t(layer)].gate ? experts(layer) : dense(layer);
      gather_row_shares();
    }
    if (s_.shape.samples)
      outputs();
    else
      program_.pieces.emplace_back(send_piece{});
    return std::move(program_);
  }

private:
  using env = const step_env&;

  template <class Fn>
  void compute(const char* name, Fn fn) {
    program_.pieces.emplace_back(compute_piece{name, std::move(fn)});
  }

  /// Said while threads of the team still wait for one that works alone, ops before the linear.
  static void prefetch(env e, gpu::team& team, const gpu::packed_weight& w, std::int32_t rows) {
    e.ops->prefetch(team, {.weight = &w, .rows = rows});
  }

  /// One array of a gather: `cols` elements of a row are this rank's.
  template <class T>
  static gpu::gather_op::array array(const T* local, T* all, std::int32_t cols) {
    return {reinterpret_cast<const std::byte*>(local), reinterpret_cast<std::byte*>(all),
            cols * std::int32_t(sizeof(T))};
  }

  /// All-gather of the columns that each rank made.
  template <class Select>
  void gather(Select select) {
    if (s_.spec.tp > 1) program_.pieces.emplace_back(gather_piece{std::move(select)});
  }

  void embed() {
    compute("embed", [&s = s_](env e, gpu::team& team) {
      auto& f = *e.f;
      const auto& table = *s.weights.embedding;
      e.ops->embed(team, {.ids = f.ids,
                          .token_slots = e.token_slots,
                          .table = table.data.data(),
                          .table_type = table.type,
                          .tokens = f.tokens,
                          .hidden = table.in,
                          .vocab = table.out,
                          .x = f.x});
    });
  }

  void attention(std::int32_t layer) {
    const auto& w = s_.weights.layers[std::size_t(layer)];
    const std::int64_t stride = std::int64_t(s_.shape.q_heads + 2 * s_.shape.kv_heads) * s_.config.head_dim;

    compute("qkv", [&s = s_, &w, stride, bf16 = bf16_](env e, gpu::team& team) {
      auto& f = *e.f;
      const auto& c = s.config;
      prefetch(e, team, *w.qkv, f.tokens);
      e.ops->rms_norm(team, {.x = f.x,
                             .weight = w.input_norm->data(),
                             .eps = c.rms_norm_eps,
                             .rows = f.tokens,
                             .cols = c.hidden_size,
                             .round_bf16 = bf16,
                             .f = f.act.f,
                             .out = f.act.q ? f.act.from_row(0) : gpu::act_view{}});
      e.ops->linear(team, {.x = f.act.from_row(0),
                           .rows = f.tokens,
                           .weight = w.qkv.get(),
                           .first_out = 0,
                           .num_out = std::int32_t(stride),
                           .y = f.qkv,
                           .y_stride = stride});
      prefetch(e, team, *w.o, f.tokens);
      gpu::head_norm_rope_args rope{.x = f.qkv,
                                    .stride = stride,
                                    .weight = w.q_norm->data(),
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
      rope.x = f.qkv + s.shape.q_heads * c.head_dim;
      rope.weight = w.k_norm->data();
      rope.heads = s.shape.kv_heads;
      rope.scale_factor = 1;
      rope.out = {.f = f.k};
      e.ops->head_norm_rope(team, rope);
    });
    program_.pieces.emplace_back(kv_turn_piece{layer});
    compute("append_kv", [&s = s_, layer, stride](env e, gpu::team& team) {
      auto& f = *e.f;
      e.ops->kv_append(team, {.k = f.k,
                              .v = f.qkv + (s.shape.q_heads + s.shape.kv_heads) * s.config.head_dim,
                              .k_stride = std::int64_t(s.shape.kv_heads) * s.config.head_dim,
                              .v_stride = stride,
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
    merge();
    gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
      const auto columns = s.shape.q_heads * s.config.head_dim;
      gpu::gather_op op{.arrays = {}, .rows = size.tokens, .every = s.spec.kv_split};
      if (f.heads.q)
        op.arrays = {array(f.heads.q, f.all_heads.q, columns),
                     array(f.heads.scale, f.all_heads.scale, s.shape.q_heads)};
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

  /// Folds what attend left; with a split KV onto the state of the rank before, and on to the next.
  void merge() {
    if (s_.spec.kv_rank() > 0) program_.pieces.emplace_back(receive_state_piece{});
    compute("merge", [&s = s_, bf16 = bf16_](env e, gpu::team& team) {
      auto& f = *e.f;
      const auto heads = s.shape.q_heads, head_dim = s.config.head_dim;
      const bool last = s.spec.merges_last();
      e.ops->merge(team, {.m = f.attn_m,
                          .l = f.attn_l,
                          .o = f.attn_o,
                          .parts = f.parts,
                          .tokens = f.tokens,
                          .heads = heads,
                          .head_dim = head_dim,
                          .before = s.spec.kv_rank() > 0 ? f.state_at(f.folded_before) : gpu::attention_state{},
                          .y = last ? f.attn : nullptr,
                          .after = last ? gpu::attention_state{} : f.state_at(f.folded)});
      if (!last) return;
      e.ops->quantise(
          team,
          {.x = f.attn, .rows = f.tokens, .cols = heads * head_dim, .round_bf16 = bf16, .out = f.heads.from_row(0)});
    });
    if (!s_.spec.merges_last()) program_.pieces.emplace_back(send_state_piece{});
  }

  /// Norm of this rank's row share, in the form of the linears; also as f32 for a gate.
  void norm_share(std::int32_t layer, bool for_gate) {
    compute("post_norm", [&s = s_, layer, for_gate, bf16 = bf16_](env e, gpu::team& team) {
      auto& f = *e.f;
      const auto next = std::size_t(layer) + 1;
      if (next < s.weights.layers.size())
        prefetch(e, team, *s.weights.layers[next].qkv, f.tokens);
      else if (s.shape.samples)
        prefetch(e, team, *s.weights.head, f.num_outputs);
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

  void experts(std::int32_t layer) {
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
                          .renormalise = c.norm_topk_prob,
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
  }

  void local_experts(std::int32_t layer) {
    compute("experts", [&s = s_, layer](env e, gpu::team& team) {
      auto& f = *e.f;
      run_expert_ffn(*e.ops, team, s.numerics, s.ffn[std::size_t(layer)], f.act.from_row(0), f.token_of_row, f.offsets,
                     f.ffn, f.expert_rows);
    });
  }

  void remote_experts(std::int32_t layer) {
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

  void dense(std::int32_t layer) {
    norm_share(layer, false);
    compute("mlp", [&s = s_, layer](env e, gpu::team& team) {
      auto& f = *e.f;
      const auto rows = s.share_of(f.tokens);
      const auto count = rows.end - rows.first, hidden = s.config.hidden_size;
      const auto& w = s.ffn[std::size_t(layer)];
      const auto width = w.down_ptr[0]->in;
      const auto mid = f.ffn.mid.for_width(width);
      const std::int32_t offsets[] = {0, count};
      e.ops->gate_up(team, {.x = f.act.from_row(0),
                            .x_row = nullptr,
                            .offsets = offsets,
                            .num_experts = 1,
                            .weight = w.gate_up_ptr.data(),
                            .round_bf16 = s.numerics.activation == gpu::dtype::bf16,
                            .gate_up = f.ffn.gate_up,
                            .out = mid.from_row(0)});
      e.ops->linear(team, {.x = mid.from_row(0),
                           .rows = count,
                           .weight = w.down_ptr[0],
                           .first_out = 0,
                           .num_out = hidden,
                           .y = f.proj,
                           .y_stride = hidden});
      e.ops->add(team,
                 {.x = f.x + std::int64_t(rows.first) * hidden, .y = f.proj, .count = std::int64_t(count) * hidden});
    });
  }

  /// After an FFN each rank has only its share of the rows of x; the last shares are padded.
  void gather_row_shares() {
    gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
      const auto rows = s.share_of(size.tokens);
      const auto words = rows.part * s.config.hidden_size;
      return {.arrays = {array(f.x + std::int64_t(s.spec.tp_rank) * words, f.x, words)}, .rows = 1};
    });
  }

  void outputs() {
    compute("lm_head", [&s = s_, bf16 = bf16_](env e, gpu::team& team) {
      auto& f = *e.f;
      const auto hidden = s.config.hidden_size;
      if (f.num_outputs == 0) return;
      e.ops->gather_rows(team, {.from = reinterpret_cast<const std::byte*>(f.x),
                                .row = f.output_rows,
                                .rows = f.num_outputs,
                                .row_bytes = hidden * std::int32_t(sizeof(float)),
                                .to = reinterpret_cast<std::byte*>(f.last_x)});
      e.ops->rms_norm(team, {.x = f.last_x,
                             .weight = s.weights.final_norm->data(),
                             .eps = s.config.rms_norm_eps,
                             .rows = f.num_outputs,
                             .cols = hidden,
                             .round_bf16 = bf16,
                             .f = f.last.f,
                             .out = f.last.q ? f.last.from_row(0) : gpu::act_view{}});
      e.ops->linear(team, {.x = f.last.from_row(0),
                           .rows = f.num_outputs,
                           .weight = s.weights.head.get(),
                           .first_out = 0,
                           .num_out = s.shape.vocab_part,
                           .y = f.logits_part,
                           .y_stride = s.shape.vocab_part});
    });
    gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
      return {.arrays = {array(f.logits_part, f.logits, s.shape.vocab_part)}, .rows = size.outputs};
    });
    compute("sample", [&s = s_](env e, gpu::team& team) {
      auto& f = *e.f;
      if (f.num_outputs == 0) return;
      e.ops->sample(team, {.logits = f.logits,
                           .rows = f.num_outputs,
                           .vocab = s.config.vocab_size,
                           .params = f.output_sampling,
                           .positions = f.output_positions,
                           .slot = f.output_slots,
                           .token_slots = e.token_slots,
                           .token = f.sampled,
                           .digest = f.digests});
    });
  }

  const shard& s_;
  bool bf16_;
  step_program program_;
};

} // namespace

step_program qwen3_moe(const shard& s) { return writer(s).write(); }

} // namespace quadrant::model::families
