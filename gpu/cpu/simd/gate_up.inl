// gpu/cpu/simd/gate_up.inl: the first half of an expert FFN in one pass: gate and up projections, SwiGLU, the act form.
//
//   item = rows of one expert x the columns that one activation scale covers: their gate panels and their up panels go to
//          this thread's scratch memory, and from there to int8. No [rows, 2 * width] floats go through memory.
// Source  gpu/cpu/reference/linear.cpp, gate_up

namespace quadrant::gpu::simd {
namespace {

/// Through memory: float forms, and widths that are no whole panels.
void gate_up_in_two(team& t, const gate_up_args& a) {
  const auto width = a.weight[0]->out / 2;
  grouped_linear(t, {.x = a.x,
                     .x_row = a.x_row,
                     .offsets = a.offsets,
                     .num_experts = a.num_experts,
                     .weight = a.weight,
                     .y = a.gate_up,
                     .y_type = dtype::f32});
  t.parallel(a.offsets[a.num_experts], grain_for(2 * std::int64_t(width), worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               auto* y = scratch<float>(slot::row, width);
               for (auto row = begin; row < end; ++row) {
                 const float* gate = a.gate_up + row * 2 * width;
                 silu_mul_row(gate, gate + width, width, y);
                 store_act(y, row, width, a.round_bf16, a.out);
               }
             });
}

void gate_up(team& t, const gate_up_args& a) {
  const auto total = a.num_experts == 0 ? 0 : a.offsets[a.num_experts];
  if (total == 0) return;
  const auto& shape = *a.weight[0];
  const auto width = shape.out / 2, group = a.out.scale_group == 0 ? width : a.out.scale_group;
  if (a.out.q == nullptr || a.x.q == nullptr || group % panel != 0 || !int_tiles_fit(a.x, shape))
    return gate_up_in_two(t, a);
  linear_job gate{.x = &a.x, .in = shape.in, .first_panel = 0, .num_out = group};
  gate.num_runs = find_runs(a.x, shape, &gate.runs);
  const auto across = width / group, panels = group / panel;
  const expert_rows* parts = nullptr;
  const auto num_parts = part_rows(a.offsets, a.num_experts, rows_per_item(t, total, 2 * across), &parts);
  const auto grain = linear_grain(total / num_parts, std::int64_t(shape.in) * 2 * group);
  share_out(
      t, num_parts * across, grain, streams(shape, 1) && total == num_parts, [&](std::int64_t begin, std::int64_t end) {
        linear_row rows[most_rows_per_item];
        std::int64_t ready = -1;
        for (auto item = begin; item < end; ++item) {
          const auto& part = parts[item / across];
          const auto& w = *a.weight[part.expert];
          const auto column = std::int32_t(item % across) * group;
          auto* floats =
              scratch<float>(slot::outputs, std::int64_t(part.num_rows) * 2 * group); // gate columns, up columns
          if (ready != item / across)
            ready_rows(
                gate, w, part.num_rows, rows,
                [&](std::int32_t r) {
                  return std::int64_t(a.x_row == nullptr ? part.first + r : a.x_row[part.first + r]);
                },
                [&](std::int32_t) { return nullptr; });
          ready = item / across;
          auto half = gate; // a window of the outputs: first the gate's, then up's
          for (const std::int32_t first : {column, width + column}) {
            half.first_panel = first / panel;
            for (std::int32_t r = 0; r < part.num_rows; ++r)
              rows[r].y = floats + (std::int64_t(r) * 2 + (first == column ? 0 : 1)) * group;
            for (std::int32_t p0 = 0; p0 < panels; p0 += panels_per_item) {
              const auto n = std::min(panels_per_item, panels - p0);
              next_panels next;
              if (p0 + 2 * panels_per_item <= panels)
                next = {&w, half.first_panel + p0 + panels_per_item};
              else if (panels >= panels_per_item && first == column)
                next = {&w, (width + column) / panel};
              else if (panels >= panels_per_item && item + 1 < end)
                next = {a.weight[parts[(item + 1) / across].expert], std::int32_t((item + 1) % across) * panels};
              run_item(half, w, rows, part.num_rows, p0, n, next);
            }
          }
          const auto groups = width / group;
          for (std::int32_t r = 0; r < part.num_rows; ++r) {
            float* both = floats + std::int64_t(r) * 2 * group;
            silu_mul_row(both, both + group, group, both);
            const auto row = std::int64_t(part.first) + r;
            a.out.scale[row * groups + column / group] = quantise_run(both, group, a.out.q + row * width + column);
          }
        }
      });
}

} // namespace
} // namespace quadrant::gpu::simd
