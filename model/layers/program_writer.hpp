// model/layers/program_writer.hpp: writes the step program of one shard, as its model_config says what the layers are.
//
//   x ─ norm ─ qkv ─ norms, RoPE ─ append KV ─ attend ─ merge ─┤gather heads├─ o ─┤gather columns├─ + x    attention.cpp
//                               with a split KV: ┤state of the rank before├─ merge ─┤state to the next├
//   latent attention: x ─ norm ─┬ q (low rank, norm) ─ into the latent's space ─┐                           latent_attention.cpp
//                               └ latent, norm ─ what turns of k, RoPE ─────────┴ append KV ─ attend ─ merge ─ out of it ─ heads
//   x ─ norm ─ route ─ sort ─ experts (here, or ┤dispatch, combine├), shared expert ─ + x ─┤gather rows├  ffn.cpp
//   embed or ┤receive├ before the first layer, output layer and sampling or ┤send├ after the last         ends.cpp
//
// With tensor parallelism every rank holds all of x; it owns some heads, some output columns, and routes some rows. Ranks
// that share heads by a split of their KV all compute q, k, v of these: less than a further exchange would cost.
#pragma once
#include <cmath>
#include <utility>

#include "model/family.hpp"

namespace quadrant::model::layers {

step_program write_program(const shard& s);

/// 1 / sqrt(n): exact operations only.
inline float inverse_root(std::int32_t n) { return 1.0f / std::sqrt(float(n)); }

/// The residual stream, normalised, into f.act.
void input_norm(const shard& s, const step_env& e, gpu::team& team, const layer_weights& w, bool round_bf16);
/// What was attended in the latent's space, of this rank's heads, into f.heads.
void leave_latent(const shard& s, const step_env& e, gpu::team& team, const latent_weights& w, bool round_bf16);

class program_writer {
public:
  explicit program_writer(const shard& s) : s_(s), bf16_(s.numerics.activation == gpu::dtype::bf16) {
    program_.num_layers = s.spec.num_layers();
    program_.hidden_size = s.config.hidden_size;
    program_.state_words = s.shape.q_heads * (s.config.value_dim() + 2);
  }
  step_program write() &&;

private:
  using env = const step_env&;

  void begin();
  void attention(std::int32_t layer);
  void project(std::int32_t layer);
  void project_latent(std::int32_t layer); ///< in its place
  void append_and_attend(std::int32_t layer);
  void merge(std::int32_t layer);
  void project_heads(std::int32_t layer);
  void ffn(std::int32_t layer);
  void norm_share(std::int32_t layer, bool for_gate);
  void experts(std::int32_t layer);
  void local_experts(std::int32_t layer);
  void remote_experts(std::int32_t layer);
  void shared_expert(std::int32_t layer);
  void dense(std::int32_t layer);
  void gather_row_shares();
  void outputs();

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
  /// The FFN of every row of `f.act` with the one weight of `w`, into f.proj.
  static void run_ffn(const shard& s, env e, gpu::team& team, const ffn_weights& w, std::int32_t rows);

  const shard& s_;
  bool bf16_;
  step_program program_;
};

} // namespace quadrant::model::layers
