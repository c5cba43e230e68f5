// model/frame.hpp: everything one micro-batch needs on its device: parameter block and activation arena.
//
// A frame belongs to a micro-batch slot and is used by one step at a time. Its memory is one allocation, so that a peer
// can be given places in it, and its addresses never change. Sizes are those of the largest micro-batch that the limits
// allow.
// Units   tokens, rows; bytes where named so
// Threads the stream that runs the step; the host only between steps
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "gpu/kv_layout.hpp"
#include "gpu/ops.hpp"
#include "model/model_config.hpp"
#include "model/sampler_slots.hpp"
#include "model/shard.hpp"

namespace quadrant::model {

/// What a step computes, as the scheduler says it: ragged rows of several sequences.
struct batch {
  struct sequence {
    std::int32_t num_rows = 0, first_position = 0;
    std::vector<std::int32_t> blocks;                        ///< of positions 0 .. first_position + num_rows - 1
    std::int32_t first_segment = 0, end_segment = INT32_MAX; ///< of its KV that is here
  };
  struct output {
    std::int32_t row = 0;   ///< whose logits are wanted
    std::int32_t slot = -1; ///< where the sampled token stays on the device; -1: nowhere
    gpu::sampling sampling{};
    bool opens = false; ///< a sequence begins in the slot, by the token of the row, with these rules
    std::shared_ptr<const sampling_rules> rules{}; ///< null: none; without a slot they are for this output alone
  };
  std::vector<std::int32_t> ids; ///< [T] a token, or -1 - slot
  std::vector<sequence> sequences;
  std::vector<output> outputs; ///< those of one row, samples of a prompt, side by side

  [[nodiscard]] std::int32_t tokens() const noexcept { return std::int32_t(ids.size()); }
  /// Rows of logits: outputs of one row share one.
  [[nodiscard]] std::int32_t logit_rows() const noexcept;
};

struct frame_limits {
  std::int32_t tokens = 0, sequences = 0, outputs = 0;
  std::int32_t parts = 0; ///< of attention, where a part of the KV is elsewhere; otherwise a token has one
};

/// Takes the places of an arena one after the other: first to count the bytes, then to give them out.
class arena_cursor {
public:
  explicit arena_cursor(std::byte* base) : base_(base) {}
  template <class T>
  T* take(std::size_t count) {
    auto* place = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return place;
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

private:
  std::byte* base_;
  std::size_t used_ = 0;
};

/// Room for an activation in the form that a linear of the profile reads.
struct act_room {
  float* f = nullptr;
  std::int8_t* q = nullptr;
  float* scale = nullptr;
  std::int32_t cols = 0, scale_group = 0;

  static act_room take(arena_cursor& cursor, gpu::dtype activation, std::int64_t rows, std::int32_t cols,
                       std::int32_t scale_group);
  [[nodiscard]] std::int32_t scales_per_row() const noexcept { return scale_group == 0 ? 1 : cols / scale_group; }
  [[nodiscard]] gpu::act_view from_row(std::int64_t row) const noexcept;
  /// The same room for rows of an FFN of this width: scales over 128 columns, or over all where 128 does not divide it.
  [[nodiscard]] act_room for_width(std::int32_t width) const noexcept;
};

/// Scratch of an expert FFN over `rows` (token, expert) pairs.
struct expert_scratch {
  float* gate_up = nullptr; ///< [rows, 2*width]
  act_room mid;             ///< [rows, width] for any width up to this (rule 5)

  /// `width`: the widest of the FFNs that use it.
  static expert_scratch take(arena_cursor& cursor, const gpu::numerics& numerics, std::int64_t rows,
                             std::int32_t width);
};

class frame {
public:
  frame(const model_config& config, const gpu::numerics& numerics, const shard_spec& spec, const shard_shape& shape,
        frame_limits limits);

  /// Copies the step's parameters to the device. Runs on the stream, before the program. token_slots, samplers: the
  /// device's; masks: fires when the rules of the outputs have their masks, or null.
  void begin(const batch& step, const std::int32_t* token_slots, sampler_slots* samplers, const gpu::event* masks);

  [[nodiscard]] std::span<std::byte> arena() noexcept { return {memory_.data(), memory_.size()}; }
  [[nodiscard]] const frame_limits& limits() const noexcept { return limits_; }
  /// The attention_state of this step's tokens in one piece: o, m, l.
  [[nodiscard]] gpu::attention_state state_at(float* piece) const noexcept {
    const auto states = std::int64_t(tokens) * q_heads_;
    return {.m = piece + states * value_dim_, .l = piece + states * (value_dim_ + 1), .o = piece};
  }

  // Parameters of the step.
  std::int32_t tokens = 0, num_sequences = 0, num_outputs = 0, num_logit_rows = 0;
  std::int64_t started_ns = 0; ///< when the step began on the device
  std::int32_t *ids = nullptr, *positions = nullptr, *block_table = nullptr;
  gpu::sequence_rows* sequences = nullptr;
  std::int32_t* logit_rows = nullptr;    ///< [num_logit_rows] of the tokens
  std::int32_t *output_logits = nullptr, ///< [num_outputs] which row of logits
      *output_positions = nullptr, *output_slots = nullptr;
  gpu::sampling* output_sampling = nullptr;
  gpu::logit_rules* output_rules = nullptr; ///< null where none of the outputs has any

  // Activations. T tokens, P = T * top_k pairs, L outputs.
  float* x = nullptr;                         ///< [T, H] the residual stream
  float* normed = nullptr;                    ///< [T, H] what the gate reads
  act_room act;                               ///< [T, H]
  float* qkv = nullptr;                       ///< [T, (projected q + projected k + Hkv) * D]
  float *wide_q = nullptr, *wide_k = nullptr; ///< [T, projected * D] normalised over all heads; only in such models
  act_room q;                                 ///< [T, Hq, D]
  float* k = nullptr;                         ///< [T, Hkv, D]
  gpu::own_rows_view own{};
  // Latent attention: low ranks, queries, and rows head by head: row h * T + t is token t's of head h.
  float *q_low = nullptr, *kv_low = nullptr;                     ///< [T, query_rank], [T, rank + turned]
  act_room q_low_act;                                            ///< [T, query_rank]
  float *q_plain = nullptr, *q_turned = nullptr;                 ///< [T, Hq, plain], [T, Hq, turned]
  float* by_head = nullptr;                                      ///< [Hq * T, rank or value]
  std::int32_t *head_rows = nullptr, *head_offsets = nullptr;    ///< [Hq * T]: t * Hq + h; [Hq+1]
  std::int32_t* parts = nullptr;                                 ///< [T+1]
  float *attn_m = nullptr, *attn_l = nullptr, *attn_o = nullptr; ///< [parts, Hq], [parts, Hq], [parts, Hq, D]
  float *folded_before = nullptr, *folded = nullptr;             ///< KV split: attention_state, as state_at lays it out
  float* attn = nullptr;                                         ///< [T, Hq * D]
  act_room heads, all_heads;                                     ///< of this rank, of all ranks: scales per head
  float *proj_part = nullptr, *proj = nullptr;                   ///< [T, H / tp], [T, H]
  float* shared_gate = nullptr;                                  ///< [T]
  std::int32_t* expert = nullptr;                                ///< [T, top_k]
  float* expert_weight = nullptr;                                ///< [T, top_k]
  std::int32_t *offsets = nullptr, *token_of_row = nullptr, *row_of_pair = nullptr;
  act_room sorted;                                 ///< [P, H] rows in expert order, only where experts are elsewhere
  expert_scratch ffn;                              ///< of the experts that are here, and of dense layers
  std::byte* expert_rows = nullptr;                ///< [P, H] in the profile's expert_row type
  float* last_x = nullptr;                         ///< [L, H]
  act_room last;                                   ///< [L, H]
  float *logits_part = nullptr, *logits = nullptr; ///< [L, V / tp], [L, V]
  std::int32_t* sampled = nullptr;                 ///< [L]
  std::uint64_t* digests = nullptr;                ///< [L]
  gpu::token_logprob* logprobs = nullptr;          ///< [L, 1 + max_top_logprobs]: the sampled, then the likeliest

private:
  void place(arena_cursor& cursor, const model_config& config, const gpu::numerics& numerics, const shard_spec& spec,
             const shard_shape& shape);

  frame_limits limits_;
  gpu::logit_rules* rules_ = nullptr;      ///< [L]
  std::shared_ptr<const void> rules_kept_; ///< what they point to
  std::int32_t max_blocks_, q_heads_, value_dim_;
  gpu::aligned_bytes memory_;
};

} // namespace quadrant::model
