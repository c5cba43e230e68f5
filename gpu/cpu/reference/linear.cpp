// Linears: f32 chains over k, and W8A8 / W4A8 by rule 6.
#include <algorithm>
#include <vector>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {
namespace {

float bias_of(const packed_weight& w, std::int32_t n) { return w.bias.size() == 0 ? 0.0f : w.bias.as<float>()[n]; }

/// 16 outputs of one panel for one f32 row.
void float_panel(const float* x, const packed_weight& w, std::int32_t p, float (&y)[panel]) {
  std::fill(std::begin(y), std::end(y), 0.0f);
  const auto base = std::size_t(p) * std::size_t(w.in) * panel;
  for (std::int32_t k = 0; k < w.in; ++k)
    for (std::int32_t j = 0; j < panel; ++j) {
      const auto at = base + std::size_t(k) * panel + std::size_t(j);
      y[j] = std::fma(x[k], w.type == dtype::f32 ? w.data.as<float>()[at] : from_bf16(w.data.as<std::uint16_t>()[at]),
                      y[j]);
    }
}

int weight_at(const packed_weight& w, std::int32_t p, std::int32_t k, std::int32_t j) {
  const auto* data = w.data.data() + std::size_t(p) * w.panel_bytes();
  if (w.type == dtype::i8)
    return int(reinterpret_cast<const std::int8_t*>(
        data)[std::size_t(k / 4) * panel * 4 + std::size_t(j) * 4 + std::size_t(k % 4)]);
  const auto byte = int(reinterpret_cast<const std::uint8_t*>(
      data)[std::size_t(k / 8) * panel * 4 + std::size_t(j) * 4 + std::size_t(k % 4)]);
  return (k % 8 < 4 ? byte & 15 : byte >> 4) - w.zero;
}

/// 16 outputs of one panel for one i8 row.
void int_panel(const std::int8_t* q, const float* scale, std::int32_t scale_group, const packed_weight& w,
               std::int32_t p, float (&y)[panel]) {
  std::fill(std::begin(y), std::end(y), 0.0f);
  const auto x_group = scale_group == 0 ? w.in : scale_group;
  for (std::int32_t first = 0, end = 0; first < w.in; first = end) {
    end = std::min({w.in, (first / w.group + 1) * w.group, (first / x_group + 1) * x_group});
    std::int32_t acc[panel] = {};
    for (auto k = first; k < end; ++k)
      for (std::int32_t j = 0; j < panel; ++j) acc[j] += int(q[k]) * weight_at(w, p, k, j);
    const float* w_scale = w.panel_scales(p) + std::ptrdiff_t(first / w.group) * panel;
    for (std::int32_t j = 0; j < panel; ++j)
      y[j] = std::fma(scale_group == 0 ? float(acc[j]) : float(acc[j]) * scale[first / x_group], w_scale[j], y[j]);
  }
  for (std::int32_t j = 0; scale_group == 0 && j < panel; ++j) y[j] = y[j] * scale[0];
}

/// Outputs [first, first + count) of one row.
void row_times_weight(const act_view& x, std::int64_t row, const packed_weight& w, std::int32_t first,
                      std::int32_t count, float* y) {
  const auto scales = x.scale_group == 0 ? 1 : w.in / x.scale_group;
  for (std::int32_t n = first; n < first + count; n += panel) {
    float tile[panel];
    if (x.q == nullptr)
      float_panel(x.f + row * w.in, w, n / panel, tile);
    else
      int_panel(x.q + row * w.in, x.scale + row * scales, x.scale_group, w, n / panel, tile);
    for (std::int32_t j = 0; j < std::min(panel, first + count - n); ++j)
      y[n - first + j] = w.bias.size() == 0 ? tile[j] : tile[j] + bias_of(w, n + j);
  }
}

} // namespace

void linear(team& t, const linear_args& a) {
  const auto panels = (a.num_out + panel - 1) / panel;
  t.parallel(std::int64_t(a.rows) * panels, 4, [&](std::int64_t begin, std::int64_t end) {
    for (auto item = begin; item < end; ++item) {
      const auto row = item / panels;
      const auto n = std::int32_t(item % panels) * panel;
      row_times_weight(a.x, row, *a.weight, a.first_out + n, std::min(panel, a.num_out - n),
                       a.y + row * a.y_stride + n);
    }
  });
}

void prefetch(team&, const prefetch_args&) {}

void grouped_linear(team& t, const grouped_linear_args& a) {
  t.parallel(a.num_experts, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> y;
    for (auto e = begin; e < end; ++e)
      for (auto row = a.offsets[e]; row < a.offsets[e + 1]; ++row) {
        const auto& w = *a.weight[e];
        y.resize(std::size_t(w.out));
        row_times_weight(a.x, a.x_row == nullptr ? row : a.x_row[row], w, 0, w.out, y.data());
        const auto at = std::int64_t(row) * w.out;
        if (a.y_type == dtype::bf16)
          std::ranges::transform(y, static_cast<std::uint16_t*>(a.y) + at, to_bf16);
        else
          std::ranges::copy(y, static_cast<float*>(a.y) + at);
      }
  });
}

void gate_up(team& t, const gate_up_args& a) {
  if (a.num_experts == 0) return;
  const auto width = a.weight[0]->out / 2;
  grouped_linear(t, {.x = a.x,
                     .x_row = a.x_row,
                     .offsets = a.offsets,
                     .num_experts = a.num_experts,
                     .weight = a.weight,
                     .y = a.gate_up,
                     .y_type = dtype::f32});
  t.parallel(a.offsets[a.num_experts], 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> y(static_cast<std::size_t>(width));
    for (auto row = begin; row < end; ++row) {
      const float* gate = a.gate_up + row * 2 * width;
      const float* up = gate + width;
      for (std::int32_t c = 0; c < width; ++c) y[std::size_t(c)] = gate[c] / (1.0f + exp_f32(-gate[c])) * up[c];
      store_act(y.data(), row, width, a.round_bf16, a.out);
    }
  });
}

} // namespace quadrant::gpu::reference
