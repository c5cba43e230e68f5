#include "model/frame.hpp"

#include <algorithm>
#include <utility>

#include "config/clock.hpp"

namespace quadrant::model {

std::int32_t batch::logit_rows() const noexcept {
  std::int32_t rows = 0, last = -1;
  for (const auto& out : outputs)
    if (std::exchange(last, out.row) != out.row) ++rows;
  return rows;
}

act_room act_room::take(arena_cursor& cursor, gpu::dtype activation, std::int64_t rows, std::int32_t cols,
                        std::int32_t scale_group) {
  act_room room{.cols = cols, .scale_group = scale_group};
  if (activation != gpu::dtype::i8) {
    room.f = cursor.take<float>(std::size_t(rows) * cols);
    return room;
  }
  room.q = cursor.take<std::int8_t>(std::size_t(rows) * cols);
  room.scale = cursor.take<float>(std::size_t(rows) * room.scales_per_row());
  return room;
}

gpu::act_view act_room::from_row(std::int64_t row) const noexcept {
  return {.f = f == nullptr ? nullptr : f + row * cols,
          .q = q == nullptr ? nullptr : q + row * cols,
          .scale = scale == nullptr ? nullptr : scale + row * scales_per_row(),
          .scale_group = scale_group};
}

act_room act_room::for_width(std::int32_t width) const noexcept {
  auto room = *this;
  room.cols = width;
  room.scale_group = width % 128 == 0 ? 128 : width;
  return room;
}

expert_scratch expert_scratch::take(arena_cursor& cursor, const gpu::numerics& numerics, std::int64_t rows,
                                    std::int32_t width) {
  expert_scratch room;
  room.gate_up = cursor.take<float>(std::size_t(rows) * 2 * width);
  room.mid = act_room::take(cursor, numerics.activation, rows, (width + 127) / 128 * 128, 128).for_width(width);
  return room;
}

frame::frame(const model_config& config, const gpu::numerics& numerics, const shard_spec& spec,
             const shard_shape& shape, frame_limits limits)
    : limits_(limits), max_blocks_((config.max_position_embeddings + gpu::block_tokens - 1) / gpu::block_tokens),
      q_heads_(shape.q_heads), value_dim_(config.value_dim()) {
  arena_cursor count(nullptr);
  place(count, config, numerics, spec, shape);
  memory_ = gpu::aligned_bytes(count.used());
  arena_cursor give(memory_.data());
  place(give, config, numerics, spec, shape);
}

void frame::place(arena_cursor& c, const model_config& config, const gpu::numerics& n, const shard_spec& spec,
                  const shard_shape& shape) {
  const std::size_t padded = std::size_t(limits_.tokens) + spec.tp;           // row shares of the ranks are rounded up
  const std::size_t pairs = padded * std::max(1, config.num_experts_per_tok); // a dense layer has a row a token
  const std::size_t hidden = config.hidden_size, key = config.key_dim(), value = config.value_dim(),
                    heads_here = shape.q_heads;
  const auto outputs = std::size_t(limits_.outputs);
  const auto width = config.widest_ffn();

  ids = c.take<std::int32_t>(padded);
  positions = c.take<std::int32_t>(padded);
  sequences = c.take<gpu::sequence_rows>(limits_.sequences);
  block_table = c.take<std::int32_t>(std::size_t(limits_.sequences) * max_blocks_);
  logit_rows = c.take<std::int32_t>(outputs);
  output_logits = c.take<std::int32_t>(outputs);
  output_positions = c.take<std::int32_t>(outputs);
  output_slots = c.take<std::int32_t>(outputs);
  output_sampling = c.take<gpu::sampling>(outputs);
  rules_ = c.take<gpu::logit_rules>(outputs);

  x = c.take<float>(padded * hidden);
  normed = c.take<float>(padded * hidden);
  act = act_room::take(c, n.activation, std::int64_t(padded), config.hidden_size, 0);
  if (config.is_latent()) {
    const auto& l = config.latent;
    q_low = c.take<float>(padded * l.query_rank);
    q_low_act = act_room::take(c, n.activation, std::int64_t(padded), l.query_rank, 0);
    kv_low = c.take<float>(padded * key);
    q_plain = c.take<float>(padded * heads_here * l.plain);
    q_turned = c.take<float>(padded * heads_here * l.turned);
    by_head = c.take<float>(padded * heads_here * std::max(l.rank, l.value));
    head_rows = c.take<std::int32_t>(padded * heads_here);
    head_offsets = c.take<std::int32_t>(heads_here + 1);
  } else {
    qkv = c.take<float>(padded * (shape.projected_q.count + shape.projected_k.count + shape.kv_heads) * key);
  }
  if (config.norm == qk_norm::width) {
    wide_q = c.take<float>(padded * shape.projected_q.count * key);
    wide_k = c.take<float>(padded * shape.projected_k.count * key);
  }
  q = act_room::take(c, n.activation, std::int64_t(padded), shape.q_heads * config.key_dim(), config.key_dim());
  k = c.take<float>(padded * shape.kv_heads * key);
  const std::size_t own_rows = padded + std::size_t(limits_.sequences) * (gpu::block_tokens - 1);
  own.k = c.take<std::byte>(own_rows * shape.kv_heads * key * bits(n.kv) / 8);
  own.v = c.take<std::byte>(own_rows * shape.kv_heads * value * bits(n.kv) / 8);
  own.k_scale = c.take<float>(own_rows * shape.kv_heads);
  own.v_scale = c.take<float>(own_rows * shape.kv_heads);
  const std::size_t most_parts = std::max<std::size_t>(padded, limits_.parts);
  parts = c.take<std::int32_t>(padded + 1);
  attn_m = c.take<float>(most_parts * shape.q_heads);
  attn_l = c.take<float>(most_parts * shape.q_heads);
  attn_o = c.take<float>(most_parts * shape.q_heads * value);
  if (spec.kv_split > 1) {
    folded_before = c.take<float>(padded * shape.q_heads * (value + 2));
    folded = c.take<float>(padded * shape.q_heads * (value + 2));
  }
  attn = c.take<float>(padded * shape.q_heads * value);
  heads =
      act_room::take(c, n.activation, std::int64_t(padded), shape.q_heads * config.output_dim(), config.output_dim());
  all_heads = spec.tp == 1 ? heads
                           : act_room::take(c, n.activation, std::int64_t(padded),
                                            config.num_q_heads * config.output_dim(), config.output_dim());
  proj = c.take<float>(padded * hidden);
  proj_part = spec.tp == 1 ? proj : c.take<float>(padded * shape.hidden_part);
  if (config.shared_gate) shared_gate = c.take<float>(padded);
  expert = c.take<std::int32_t>(pairs);
  expert_weight = c.take<float>(pairs);
  offsets = c.take<std::int32_t>(std::size_t(config.num_experts) + 1);
  token_of_row = c.take<std::int32_t>(pairs);
  row_of_pair = c.take<std::int32_t>(pairs);
  if (!spec.local_experts) sorted = act_room::take(c, n.activation, std::int64_t(pairs), config.hidden_size, 0);
  ffn = expert_scratch::take(c, n, std::int64_t(pairs), width);
  expert_rows = c.take<std::byte>(pairs * hidden * bits(n.expert_row) / 8);
  last_x = c.take<float>(outputs * hidden);
  last = act_room::take(c, n.activation, std::int64_t(outputs), config.hidden_size, 0);
  logits = c.take<float>(outputs * config.vocab_size);
  logits_part = spec.tp == 1 ? logits : c.take<float>(outputs * shape.vocab_part);
  sampled = c.take<std::int32_t>(outputs);
  digests = c.take<std::uint64_t>(outputs);
  logprobs = c.take<gpu::token_logprob>(outputs * (1 + gpu::max_top_logprobs));
}

void frame::begin(const batch& step, const std::int32_t* token_slots, sampler_slots* samplers,
                  const gpu::event* masks) {
  QCHECK_LE(step.tokens(), limits_.tokens);
  QCHECK_LE(std::int32_t(step.sequences.size()), limits_.sequences);
  QCHECK_LE(std::int32_t(step.outputs.size()), limits_.outputs);
  started_ns = steady_clock::monotonic_ns();
  tokens = step.tokens();
  num_sequences = std::int32_t(step.sequences.size());
  num_outputs = std::int32_t(step.outputs.size());
  std::ranges::copy(step.ids, ids);

  std::int32_t row = 0, own_row = 0;
  parts[0] = 0;
  auto* blocks = block_table;
  for (std::int32_t s = 0; s < num_sequences; ++s) {
    const auto& seq = step.sequences[std::size_t(s)];
    QCHECK_LE(std::int32_t(seq.blocks.size()), max_blocks_);
    sequences[s] = {.first_row = row,
                    .num_rows = seq.num_rows,
                    .first_position = seq.first_position,
                    .own_row = own_row,
                    .blocks = blocks,
                    .first_segment = seq.first_segment,
                    .end_segment = seq.end_segment};
    blocks = std::ranges::copy(seq.blocks, blocks).out;
    for (std::int32_t i = 0; i < seq.num_rows; ++i) {
      positions[row + i] = seq.first_position + i;
      parts[row + i + 1] = parts[row + i] + sequences[s].parts_at(seq.first_position + i);
    }
    row += seq.num_rows;
    own_row += seq.first_position % gpu::block_tokens + seq.num_rows;
  }
  QCHECK_EQ(row, tokens);
  QCHECK_LE(parts[tokens], std::max(limits_.tokens, limits_.parts));

  num_logit_rows = 0;
  for (std::int32_t i = 0; i < num_outputs; ++i) {
    const auto& out = step.outputs[std::size_t(i)];
    if (i == 0 || out.row != step.outputs[std::size_t(i) - 1].row) logit_rows[num_logit_rows++] = out.row;
    output_logits[i] = num_logit_rows - 1;
    output_positions[i] = positions[out.row] + 1;
    output_slots[i] = out.slot;
    output_sampling[i] = out.sampling;
  }
  output_rules = nullptr;
  if (samplers == nullptr) return;
  std::vector<std::int32_t> input;
  for (const auto& out : step.outputs) {
    const auto id = step.ids[std::size_t(out.row)];
    input.push_back(id >= 0 || token_slots == nullptr ? id : token_slots[-1 - id]);
  }
  rules_kept_ = samplers->begin(step, input.data(), output_positions, rules_, masks);
  output_rules = rules_;
}

} // namespace quadrant::model
