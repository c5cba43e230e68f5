// gpu/ops.hpp: every op of a step, with its sum, its shapes and the dtypes at its borders. Read this first.
//
// T tokens of a micro-batch, S sequences in it, H hidden, D head width, Hq/Hkv query and KV heads of this rank,
// E experts, k experts a token, V vocabulary. Matrices are row-major and contiguous unless a stride is named.
// "act" is the profile's activation: f32 words (bf16 profile: rounded to bf16 values), or i8 with f32 scales.
// All back-ends give the same bits (the numbered rules are those of gpu/README.md); the order of every float sum is
// part of the op. NaN and Inf are not lost: a row that holds one gets a NaN scale, which reaches its logits.
// Threads an op runs on the calling thread and the team it is given; its operands are nobody else's meanwhile
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

#include "gpu/dtype.hpp"
#include "gpu/kv_layout.hpp"
#include "gpu/packed_weight.hpp"
#include "gpu/sampling.hpp"
#include "gpu/team.hpp"

namespace quadrant::gpu {

/// Activation rows: exactly one of f and q is set. q's scales cover `scale_group` columns each (0: the whole row).
struct act_view {
  float* f = nullptr;           ///< [rows, cols]
  std::int8_t* q = nullptr;     ///< [rows, cols], in [-127, 127]
  float* scale = nullptr;       ///< [rows, cols/scale_group], or [rows]
  std::int32_t scale_group = 0; ///< divides cols
};

/// How one sequence's rows of this micro-batch lie. Lives in the micro-batch's parameter block on the device.
struct sequence_rows {
  std::int32_t first_row = 0;           ///< its rows are consecutive in T
  std::int32_t num_rows = 0;            ///< q >= 1
  std::int32_t first_position = 0;      ///< of first_row; the KV of all earlier positions is in the blocks
  std::int32_t own_row = 0;             ///< its first row in the own-block rows, see kv_append
  const std::int32_t* blocks = nullptr; ///< block ids of positions 0, 64, ...; enough for its last position
  /// The segments [first, end) of its KV lie in this pool; the others are other workers', their block ids mean nothing.
  std::int32_t first_segment = 0, end_segment = INT32_MAX;

  [[nodiscard]] constexpr bool holds(std::int32_t position) const noexcept {
    return position / segment_tokens >= first_segment && position / segment_tokens < end_segment;
  }
  /// How many parts attend leaves of the row at a position: all segments up to it as one, where the first is here;
  /// otherwise each by itself.
  [[nodiscard]] constexpr std::int32_t parts_at(std::int32_t position) const noexcept {
    const auto reached = std::min(end_segment, position / segment_tokens + 1);
    return first_segment == 0 ? std::min(1, reached) : std::max(0, reached - first_segment);
  }
};

// ---- element and row ops ------------------------------------------------------------------------------------------

/// x[t,:] = f32(table[id[t],:]); id[t] >= 0 is a token; id[t] < 0 means token_slots[-1 - id[t]], which an earlier
/// step's `sample` wrote: the sampled token never leaves the device. table [V,H] f32 or bf16 rows.
struct embed_args {
  const std::int32_t* ids;
  const std::int32_t* token_slots;
  const void* table;
  dtype table_type; ///< f32 or bf16
  std::int32_t tokens, hidden, vocab;
  float* x; ///< [T,H]
};

/// y[t,h] = x[t,h] * (1 / sqrt(mean_h(x^2) + eps)) * w[h], the mean by the 16 lanes of rule 3, then the act form.
/// The inverse root r is one IEEE division and square root; y = (x * r) * w. `f` (if set) gets y in f32 (bf16 profile:
/// rounded) for the gate; `out` the act form (may be f alone). i8: one scale a row, amax/127, round to nearest even
/// (rules 4, 5).
struct rms_norm_args {
  const float* x; ///< row t at x + t * x_stride
  const float* weight;
  float eps;
  std::int32_t rows, cols;
  bool round_bf16;           ///< the bf16 profile
  float* f;                  ///< [rows, cols] or null
  act_view out;              ///< q and scale, or neither
  std::int64_t x_stride = 0; ///< floats between rows of x; 0: cols
};

/// x[t,c] = min(max(x[t,c], -limit), limit) in place; a NaN stays.
struct clamp_args {
  float* x; ///< row t at x + t * stride
  std::int64_t stride;
  std::int32_t rows, cols;
  float limit;
};

/// Per head h of [T, heads, D]: RMSNorm over D with weight w[D] (null: none), then rotate-half RoPE at the row's
/// position: o[i] = fma(a[i], cos, -(b[i] * sin)), o[i+D/2] = fma(b[i], cos, a[i] * sin), a/b the halves, i < D/2.
/// Then f (f32; bf16 profile: rounded) or q with one scale per (token, head), already times `scale_factor` (softmax
/// 1/sqrt(D) for queries); in the f form the factor is multiplied into f before rounding.
struct head_norm_rope_args {
  const float* x; ///< row t, head h at x + t*stride + h*D
  std::int64_t stride;
  const float* weight; ///< or null
  float eps;
  const float *cos, *sin;        ///< [max_positions, D/2]
  const std::int32_t* positions; ///< [T]
  std::int32_t tokens, heads, head_dim;
  bool round_bf16;
  float scale_factor;
  act_view out; ///< [T, heads, D]; scale_group = D
};

/// Latent attention's rows: out(t,h) = [ a(t,h) | turned b(t,h) ], times `factor`, in the act form with one scale each.
/// a is RMSNormed first where weight is set ((x * r) * w, as rms_norm); b turns by the row's position: with `pairs`
/// dimensions 2i and 2i+1, otherwise i and i + b_dim/2, together, as head_norm_rope turns its halves; each stays where it was.
struct join_rope_args {
  const float* a; ///< row t, head h at a + t * a_row + h * a_head
  std::int64_t a_row, a_head;
  std::int32_t a_dim;
  const float* weight; ///< [a_dim], or null
  float eps;
  const float* b; ///< likewise; b_dim may be 0
  std::int64_t b_row, b_head;
  std::int32_t b_dim;
  bool pairs;
  const float *cos, *sin;        ///< [max_positions, b_dim/2]
  const std::int32_t* positions; ///< [T]
  std::int32_t tokens, heads;
  bool round_bf16;
  float factor;
  act_view out; ///< [T, heads, a_dim + b_dim]
};

/// Quantises or rounds rows as they are: x [rows, cols] to `out` with scales over out.scale_group columns (0: row).
struct quantise_args {
  const float* x;
  std::int32_t rows, cols;
  bool round_bf16;
  act_view out;
};

/// x[t,:] += y[t,:]
struct add_args {
  float* x;
  const float* y;
  std::int64_t count;
};

/// x[t,c] = fma(1 / (1 + exp(-gate[t])), y[t,c], x[t,c])
struct add_gated_args {
  float* x;
  const float* y;
  const float* gate; ///< [rows]
  std::int32_t rows, cols;
};

// ---- linear -------------------------------------------------------------------------------------------------------

/// y[r, n - first_out] = sum_k x[row(r), k] * w[n, k] + bias[n], n in [first_out, first_out + num_out).
/// f32 activations: one sequential fma chain over k from 0 (rule 3). i8 activations (rule 6): exact i32 per run of k
/// over which no scale changes, of weight or activation, runs ascending;
///   one scale a row:   y = fma(float(acc), w_scale, y) over runs, then y * x_scale
///   grouped scales:    y = fma(float(acc) * x_scale[run], w_scale, y) over runs
/// and last + bias. first_out is a multiple of 16.
struct linear_args {
  act_view x; ///< [*, K]
  std::int32_t rows;
  const packed_weight* weight;
  std::int32_t first_out, num_out;
  float* y;
  std::int64_t y_stride; ///< floats between rows of y
};

/// Says which weight a later linear reads, all of it: threads that wait for one that works alone fetch what they will
/// read first. A hint; replaces the one before.
struct prefetch_args {
  const packed_weight* weight;
  std::int32_t rows; ///< of the linear
};

/// The same for rows sorted by expert: rows [offsets[e], offsets[e+1]) meet weight[e]; offsets[0] is 0. Row r reads
/// x[x_row[r]] (null: r), and writes y row r, f32 or rounded to bf16. Empty experts cost nothing.
struct grouped_linear_args {
  act_view x;
  const std::int32_t* x_row;   ///< or null
  const std::int32_t* offsets; ///< [num_experts + 1]
  std::int32_t num_experts;
  const packed_weight* const* weight; ///< [num_experts], all of one shape and type
  void* y;                            ///< [offsets[num_experts], out]
  dtype y_type;                       ///< f32 or bf16
};

/// The first half of a gated FFN over the same rows: weight[e] holds the rows of the gate, then as many of up.
/// g, u as grouped_linear gives them in f32; out(r, n) = silu(g) * u in the act form; silu(g) = g / (1 + exp(-g)).
struct gate_up_args {
  act_view x;
  const std::int32_t* x_row; ///< or null
  const std::int32_t* offsets;
  std::int32_t num_experts;
  const packed_weight* const* weight; ///< [num_experts], 2 * width outputs
  bool round_bf16;
  float* gate_up; ///< [rows, 2*width] room for g and u, where a form is not computed in one pass
  act_view out;   ///< [rows, width]
};

// ---- attention ----------------------------------------------------------------------------------------------------

/// The own-block rows: for each sequence the rows of positions floor64(first_position) .. last, in the open form of
/// rule 7 (f32/bf16 planes: the plane's type). k, v [rows, Hkv, D]; scales [rows, Hkv] (i8 only).
struct own_rows_view {
  void *k, *v;
  float *k_scale, *v_scale;
};

/// Stores new K, V rows: quantises them (i8: one scale per (token, KV head)), copies the rows of the current block that
/// earlier steps wrote from the pool to `own`, writes the new ones to `own` and to the pool, and seals every block that
/// is now full: s = max_j s_j, q'_j = round(q_j * (s_j / s)), all 64 scales := s (rule 7). f32/bf16 planes are never
/// sealed. Rows of segments that are not here are left alone.
struct kv_append_args {
  const float *k, *v; ///< row t, head h at k + t*stride + h*D; k after RoPE. bf16 planes: values are rounded here
  std::int64_t k_stride, v_stride;
  const sequence_rows* sequences;
  std::int32_t num_sequences;
  std::byte* pool;
  kv_layout layout;
  std::int32_t layer; ///< within the layout
  own_rows_view own;
};

/// Attention of every row over its sequence (rules 7, 8): query at position p sees the sealed blocks before its own,
/// and its own block open, up to p. Query heads share KV heads in runs of Hq/Hkv. Per tile of 64 positions, with m its
/// row maximum (never -0), e(x) = exp2_255(x), c = q_scale * k_scale (of position j where the block is open):
///   i8:   sealed: D = max_j q.k_j;  m = float(D) * c;  p_j = e(float(q.k_j - D) * (c * log2 e))
///                 P_j = u8(rint(p_j));  l = float(sum P_j);  unit = v_scale;  W = P
///         open:   s_j = float(q.k_j) * c_j;  m = max_j s_j;  p_j = e((s_j - m) * log2 e);  P, l likewise
///                 a_j = p_j * v_scale_j;  A = max a_j;  unit = A / 255;  W_j = u8(rint(a_j * (255 / A)))
///         o' = fma(float(sum_j W_j v_jd), unit * b, o * a)
///   f32:  s_j = fma chain over d;  p_j = exp(s_j - m);  l = 16-lane sum;  t_d = fma chain over j
///         o' = fma(t_d, b, o * a)
/// A c that is not below 2^100 makes l NaN, m -inf and all W 0 (open: the unit, too); a NaN among f32's s_j makes l NaN;
/// an a_j that is not below 2^100 makes the unit NaN, and A below 2^-100 makes unit and W 0.
/// Tiles fold left within a segment of 1,024 positions, from m = -inf, l = 0, o = 0:
///   m' = max(m, mt); a = exp(m - m'); b = exp(mt - m'); l' = fma(lt, b, l * a)
/// Segments fold left likewise, o' = fma(ot, b, o * a), from the first one; those of a row's that are here make the
/// parts that sequence_rows::parts_at counts.
/// Bound against exact attention over the same integers: e's 1.1e-4 and half a step of 255 in each weight.
struct attend_args {
  act_view q; ///< [T, Hq, D], factor 1/sqrt(D) already in it
  std::int32_t num_q_heads;
  const sequence_rows* sequences;
  std::int32_t num_sequences;
  const std::byte* pool;
  kv_layout layout;
  std::int32_t layer;
  own_rows_view own;
  const std::int32_t* parts; ///< [T+1] the parts of row t are [parts[t], parts[t+1])
  float *m, *l;              ///< [parts, Hq]
  float* o;                  ///< [parts, Hq, D]
};

/// What is folded so far: m = -inf and l = 0 where that is nothing.
struct attention_state {
  float *m = nullptr, *l = nullptr; ///< [T, Hq]
  float* o = nullptr;               ///< [T, Hq, D]
};

/// Folds parts left, onto `before` where it is set: o' = fma(ot, b, o * a). Then y[t, h, :] = o / l where y is set;
/// otherwise `after` gets the state.
struct merge_args {
  const float *m, *l, *o;    ///< as attend writes them
  const std::int32_t* parts; ///< as attend's
  std::int32_t tokens, heads, head_dim;
  attention_state before;
  float* y; ///< [T, heads, D], or null
  attention_state after;
};

// ---- mixture of experts -------------------------------------------------------------------------------------------

/// How a router chooses. groups divides the experts into runs of one length.
struct router {
  bool sigmoid = false;      ///< else softmax
  bool renormalise = false;  ///< the weights of the k by their sum
  bool group_by_two = false; ///< a group is worth the sum of its two best, else its best
  std::int32_t groups = 1, kept_groups = 1;
  float epsilon = 0, scale = 1;
};

/// logits[t, e] = fma chain over h of x[t,h] * w[e,h] in f32 (rule 10; weights of bf16 are exact in it); p = softmax (max,
/// exp, 16-lane sum, division) or 1 / (1 + exp(-logit)); c = p + bias. Of the groups the kept_groups best by (worth
/// descending, group ascending) stay; of their experts the k best by (c descending, e ascending); weight = p, or
/// p / (sequential sum of the k, best first, + epsilon) where `renormalise`; last times scale. A row whose logits hold a
/// NaN or +Inf (sigmoid: or -Inf) gets k times expert 0 and NaN among its weights.
struct route_args {
  const float* x; ///< [T,H]
  const packed_weight* gate;
  std::int32_t tokens, num_experts, top_k;
  router how;
  const float* bias;    ///< [E], or null
  std::int32_t* expert; ///< [T,k]
  float* weight;        ///< [T,k]
};

/// Sorts the T*k (token, choice) pairs by (expert, token): offsets [E+1], token_of_row [T*k], row_of_pair [T,k].
struct moe_sort_args {
  const std::int32_t* expert; ///< [T,k]
  std::int32_t tokens, top_k, num_experts;
  std::int32_t *offsets, *token_of_row, *row_of_pair;
};

/// to[r] = from[row[r]] for rows of row_bytes bytes.
struct gather_rows_args {
  const std::byte* from;
  const std::int32_t* row;
  std::int32_t rows, row_bytes;
  std::byte* to;
};

/// x[t,:] += sum_j weight[t,j] * row[row_of_pair[t,j],:], the sum one fma chain from 0 in top-k order, then added
/// (rule 10).
struct combine_args {
  const void* rows; ///< [T*k, H] f32 or bf16
  dtype row_type;
  const std::int32_t* row_of_pair;
  const float* weight;
  std::int32_t tokens, top_k, hidden;
  float* x;
};

// ---- output -------------------------------------------------------------------------------------------------------

/// One token per row r, of logits_row[r] of logits [.., V] (rules 12, 13). Order: the row's rules, temperature, top-k,
/// top-p, min-p, then Gumbel-max with Philox key seed, counter (position, token id, sample index). token_slots[slot[r]] =
/// token; token[r] = token, or -1 if the row holds a NaN or Inf, or no token may come. digest[r] = xxh3_64 of the row's V
/// floats. logprobs, of the row as it is: l - max - log(16-lane sum of exp(l - max)), rule 3; the chosen token's comes
/// first, then the top_logprobs likeliest by (logit descending, id ascending).
struct sample_args {
  const float* logits;
  std::int32_t rows, vocab;
  const sampling* params;        ///< [rows]
  const std::int32_t* positions; ///< [rows]: the position that the new token will take
  const std::int32_t* slot;      ///< [rows], or null
  std::int32_t* token_slots;
  std::int32_t* token;
  std::uint64_t* digest;
  const std::int32_t* logits_row = nullptr; ///< [rows]; null: row r of row r
  const logit_rules* rules = nullptr;       ///< [rows], or null
  token_logprob* logprobs = nullptr;        ///< [rows, 1 + max_top_logprobs], where rules ask for them
};

/// The ops of one back-end. Null-free.
struct ops_table {
  const char* name; ///< "scalar", "avx2", "avx512"
  void (*embed)(team&, const embed_args&);
  void (*rms_norm)(team&, const rms_norm_args&);
  void (*head_norm_rope)(team&, const head_norm_rope_args&);
  void (*join_rope)(team&, const join_rope_args&);
  void (*quantise)(team&, const quantise_args&);
  void (*add)(team&, const add_args&);
  void (*add_gated)(team&, const add_gated_args&);
  void (*clamp)(team&, const clamp_args&);
  void (*linear)(team&, const linear_args&);
  void (*prefetch)(team&, const prefetch_args&);
  void (*grouped_linear)(team&, const grouped_linear_args&);
  void (*gate_up)(team&, const gate_up_args&);
  void (*kv_append)(team&, const kv_append_args&);
  void (*attend)(team&, const attend_args&);
  void (*merge)(team&, const merge_args&);
  void (*route)(team&, const route_args&);
  void (*moe_sort)(team&, const moe_sort_args&);
  void (*gather_rows)(team&, const gather_rows_args&);
  void (*combine)(team&, const combine_args&);
  void (*sample)(team&, const sample_args&);
};

} // namespace quadrant::gpu
