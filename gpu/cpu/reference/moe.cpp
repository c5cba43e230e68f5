// Routing, sorting by expert, combining.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {

void drop_groups(const router& how, float* c, std::int32_t num_experts) {
  constexpr float dropped = -std::numeric_limits<float>::infinity();
  const auto size = num_experts / how.groups;
  std::vector<float> worth(std::size_t(how.groups), dropped);
  for (std::int32_t g = 0; g < how.groups; ++g) {
    float best = dropped, second = dropped;
    for (auto e = g * size; e < (g + 1) * size; ++e) {
      if (c[e] > best)
        second = std::exchange(best, c[e]);
      else if (c[e] > second)
        second = c[e];
    }
    worth[std::size_t(g)] = how.group_by_two ? best + second : best;
  }
  std::vector<bool> stays(worth.size());
  for (std::int32_t n = 0; n < how.kept_groups; ++n) {
    std::size_t best = 0;
    while (stays[best]) ++best;
    for (auto g = best + 1; g < worth.size(); ++g)
      if (!stays[g] && worth[g] > worth[best]) best = g;
    stays[best] = true;
  }
  for (std::int32_t e = 0; e < num_experts; ++e)
    if (!stays[std::size_t(e / size)]) c[e] = dropped;
}

void route(team& t, const route_args& a) {
  t.parallel(a.tokens, 4, [&](std::int64_t begin, std::int64_t end) {
    const auto experts = std::size_t(a.num_experts);
    std::vector<float> p(std::size_t(a.gate->out_padded())), c(experts);
    team alone({.num_threads = 1});
    for (auto row = begin; row < end; ++row) {
      linear(alone, {.x = {.f = const_cast<float*>(a.x) + row * a.gate->in},
                     .rows = 1,
                     .weight = a.gate,
                     .first_out = 0,
                     .num_out = a.num_experts,
                     .y = p.data(),
                     .y_stride = a.num_experts});
      bool sound = true;
      if (a.how.sigmoid) {
        for (std::size_t e = 0; e < experts; ++e) {
          sound = sound && p[e] - p[e] == 0;
          p[e] = 1.0f / (1.0f + exp_f32(-p[e]));
        }
      } else {
        float top = p[0];
        for (std::size_t e = 1; e < experts; ++e) top = std::max(top, p[e]);
        for (std::size_t e = 0; e < experts; ++e) p[e] = exp_f32(p[e] - top);
        const float sum =
            sum_16_lanes(a.num_experts, [&](float lane, std::int64_t e) { return lane + p[std::size_t(e)]; });
        for (std::size_t e = 0; e < experts; ++e) p[e] = p[e] / sum;
        sound = sum == sum;
      }
      for (std::size_t e = 0; e < experts; ++e) c[e] = a.bias == nullptr ? p[e] : p[e] + a.bias[e];
      if (a.how.groups > 1) drop_groups(a.how, c.data(), a.num_experts);
      float total = 0;
      for (std::int32_t j = 0; j < a.top_k; ++j) { // few choices: repeated selection is the plain way
        std::size_t best = 0;
        for (std::size_t e = 1; e < experts && sound; ++e)
          if (c[e] > c[best]) best = e;
        a.expert[row * a.top_k + j] = std::int32_t(best);
        a.weight[row * a.top_k + j] = sound ? p[best] : nan_f32;
        total = total + p[best];
        c[best] = -std::numeric_limits<float>::infinity();
      }
      for (std::int32_t j = 0; j < a.top_k; ++j) {
        auto& w = a.weight[row * a.top_k + j];
        if (a.how.renormalise) w /= total + a.how.epsilon;
        w *= a.how.scale;
      }
    }
  });
}

void moe_sort(team&, const moe_sort_args& a) {
  std::fill_n(a.offsets, a.num_experts + 1, 0);
  const auto pairs = std::int64_t(a.tokens) * a.top_k;
  for (std::int64_t i = 0; i < pairs; ++i) ++a.offsets[a.expert[i] + 1];
  for (std::int32_t e = 0; e < a.num_experts; ++e) a.offsets[e + 1] += a.offsets[e];
  for (std::int64_t i = 0; i < pairs; ++i) { // offsets[e]: the next row of expert e, at last its end
    const auto row = a.offsets[a.expert[i]]++;
    a.token_of_row[row] = std::int32_t(i / a.top_k);
    a.row_of_pair[i] = row;
  }
  std::copy_backward(a.offsets, a.offsets + a.num_experts, a.offsets + a.num_experts + 1);
  a.offsets[0] = 0;
}

void gather_rows(team& t, const gather_rows_args& a) {
  t.parallel(a.rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = begin; r < end; ++r)
      std::memcpy(a.to + r * a.row_bytes, a.from + std::int64_t(a.row[r]) * a.row_bytes, std::size_t(a.row_bytes));
  });
}

void combine(team& t, const combine_args& a) {
  t.parallel(a.tokens, 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row)
      for (std::int32_t h = 0; h < a.hidden; ++h) {
        float sum = 0;
        for (std::int32_t j = 0; j < a.top_k; ++j) {
          const auto at = std::int64_t(a.row_of_pair[row * a.top_k + j]) * a.hidden + h;
          const float value = a.row_type == dtype::f32 ? static_cast<const float*>(a.rows)[at]
                                                       : from_bf16(static_cast<const std::uint16_t*>(a.rows)[at]);
          sum = std::fma(a.weight[row * a.top_k + j], value, sum);
        }
        a.x[row * a.hidden + h] += sum;
      }
  });
}

} // namespace quadrant::gpu::reference
