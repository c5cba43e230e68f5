// What comes before the first layer of a shard and after its last; the order of all.
#include "model/layers/program_writer.hpp"

namespace quadrant::model::layers {

step_program write_program(const shard& s) { return program_writer(s).write(); }

step_program program_writer::write() && {
  begin();
  for (std::int32_t layer = 0; layer < s_.spec.num_layers(); ++layer) {
    attention(layer);
    ffn(layer);
  }
  if (s_.shape.samples)
    outputs();
  else
    program_.pieces.emplace_back(send_piece{});
  return std::move(program_);
}

void program_writer::begin() {
  if (!s_.shape.embeds) {
    program_.pieces.emplace_back(receive_piece{});
    return;
  }
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

void program_writer::outputs() {
  compute("lm_head", [&s = s_, bf16 = bf16_](env e, gpu::team& team) {
    auto& f = *e.f;
    const auto hidden = s.config.hidden_size;
    if (f.num_logit_rows == 0) return;
    e.ops->gather_rows(team, {.from = reinterpret_cast<const std::byte*>(f.x),
                              .row = f.logit_rows,
                              .rows = f.num_logit_rows,
                              .row_bytes = hidden * std::int32_t(sizeof(float)),
                              .to = reinterpret_cast<std::byte*>(f.last_x)});
    e.ops->rms_norm(team, {.x = f.last_x,
                           .weight = s.weights.final_norm->data(),
                           .eps = s.config.rms_norm_eps,
                           .rows = f.num_logit_rows,
                           .cols = hidden,
                           .round_bf16 = bf16,
                           .f = f.last.f,
                           .out = f.last.q ? f.last.from_row(0) : gpu::act_view{}});
    e.ops->linear(team, {.x = f.last.from_row(0),
                         .rows = f.num_logit_rows,
                         .weight = s.weights.head.get(),
                         .first_out = 0,
                         .num_out = s.shape.vocab_part,
                         .y = f.logits_part,
                         .y_stride = s.shape.vocab_part});
  });
  gather([&s = s_](frame& f, step_size size) -> gpu::gather_op {
    return {.arrays = {array(f.logits_part, f.logits, s.shape.vocab_part)}, .rows = size.logit_rows};
  });
  program_.pieces.emplace_back(masks_piece{});
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
                         .digest = f.digests,
                         .logits_row = f.output_logits,
                         .rules = f.output_rules,
                         .logprobs = f.logprobs});
  });
}

} // namespace quadrant::model::layers
