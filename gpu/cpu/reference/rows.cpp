// Element and row ops: embed, norms, RoPE, quantise, add.
#include <cstring>
#include <vector>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {
namespace {

/// 1 / sqrt(mean(x^2) + eps)
float inverse_rms(const float* x, std::int32_t n, float eps) {
  const float sum = sum_16_lanes(n, [&](float lane, std::int64_t i) { return std::fma(x[i], x[i], lane); });
  return 1.0f / std::sqrt(sum / float(n) + eps);
}

} // namespace

void embed(team& t, const embed_args& a) {
  t.parallel(a.tokens, 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      auto id = a.ids[row];
      if (id < 0) id = a.token_slots[-1 - id];
      if (id < 0 || id >= a.vocab) id = 0; // a faulted slot: the step's result is dropped
      float* x = a.x + row * a.hidden;
      if (a.table_type == dtype::f32) {
        std::memcpy(x, static_cast<const float*>(a.table) + std::int64_t(id) * a.hidden,
                    std::size_t(a.hidden) * sizeof(float));
      } else {
        const auto* from = static_cast<const std::uint16_t*>(a.table) + std::int64_t(id) * a.hidden;
        for (std::int32_t h = 0; h < a.hidden; ++h) x[h] = from_bf16(from[h]);
      }
    }
  });
}

void rms_norm(team& t, const rms_norm_args& a) {
  t.parallel(a.rows, 8, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> y(std::size_t(a.cols));
    for (auto row = begin; row < end; ++row) {
      const float* x = a.x + row * (a.x_stride == 0 ? a.cols : a.x_stride);
      const float r = inverse_rms(x, a.cols, a.eps);
      for (std::int32_t c = 0; c < a.cols; ++c) y[std::size_t(c)] = (x[c] * r) * a.weight[c];
      if (a.f != nullptr)
        for (std::int32_t c = 0; c < a.cols; ++c)
          a.f[row * a.cols + c] = a.round_bf16 ? round_bf16(y[std::size_t(c)]) : y[std::size_t(c)];
      store_act(y.data(), row, a.cols, a.round_bf16, a.out);
    }
  });
}

void head_norm_rope(team& t, const head_norm_rope_args& a) {
  const auto half = a.head_dim / 2;
  t.parallel(a.tokens, 8, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> y(std::size_t(a.head_dim)), o(std::size_t(a.head_dim));
    for (auto row = begin; row < end; ++row) {
      const float* cos = a.cos + std::int64_t(a.positions[row]) * half;
      const float* sin = a.sin + std::int64_t(a.positions[row]) * half;
      for (std::int32_t h = 0; h < a.heads; ++h) {
        const float* x = a.x + row * a.stride + std::int64_t(h) * a.head_dim;
        const float r = a.weight == nullptr ? 1.0f : inverse_rms(x, a.head_dim, a.eps);
        for (std::int32_t d = 0; d < a.head_dim; ++d)
          y[std::size_t(d)] = a.weight == nullptr ? x[d] : (x[d] * r) * a.weight[d];
        for (std::int32_t i = 0; i < half; ++i) {
          const float first = y[std::size_t(i)], second = y[std::size_t(i + half)];
          o[std::size_t(i)] = std::fma(first, cos[i], -(second * sin[i]));
          o[std::size_t(i + half)] = std::fma(second, cos[i], first * sin[i]);
        }
        const auto at = row * a.heads + h; // heads are the rows of the act form
        if (a.out.f != nullptr) {
          for (auto& v : o) v *= a.scale_factor;
          store_act(o.data(), at, a.head_dim, a.round_bf16, {.f = a.out.f});
        } else {
          a.out.scale[at] = quantise_run(o.data(), a.head_dim, a.out.q + at * a.head_dim) * a.scale_factor;
        }
      }
    }
  });
}

void join_rope(team& t, const join_rope_args& a) {
  const auto width = a.a_dim + a.b_dim, half = a.b_dim / 2;
  t.parallel(a.tokens, 8, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> y(static_cast<std::size_t>(width));
    for (auto row = begin; row < end; ++row) {
      const float* cos = a.cos + std::int64_t(a.positions[row]) * half;
      const float* sin = a.sin + std::int64_t(a.positions[row]) * half;
      for (std::int32_t h = 0; h < a.heads; ++h) {
        const float *x = a.a + row * a.a_row + h * a.a_head, *b = a.b + row * a.b_row + h * a.b_head;
        const float r = a.weight == nullptr ? 1.0f : inverse_rms(x, a.a_dim, a.eps);
        for (std::int32_t d = 0; d < a.a_dim; ++d)
          y[std::size_t(d)] = a.weight == nullptr ? x[d] : (x[d] * r) * a.weight[d];
        float* turned = y.data() + a.a_dim;
        for (std::int32_t i = 0; i < half; ++i) {
          const auto first = a.pairs ? 2 * i : i, second = a.pairs ? 2 * i + 1 : i + half;
          turned[first] = std::fma(b[first], cos[i], -(b[second] * sin[i]));
          turned[second] = std::fma(b[second], cos[i], b[first] * sin[i]);
        }
        const auto at = row * a.heads + h;
        if (a.out.f != nullptr) {
          for (auto& v : y) v *= a.factor;
          store_act(y.data(), at, width, a.round_bf16, {.f = a.out.f});
        } else {
          a.out.scale[at] = quantise_run(y.data(), width, a.out.q + at * width) * a.factor;
        }
      }
    }
  });
}

void quantise(team& t, const quantise_args& a) {
  t.parallel(a.rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) store_act(a.x + row * a.cols, row, a.cols, a.round_bf16, a.out);
  });
}

void add(team& t, const add_args& a) {
  t.parallel(a.count, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) a.x[i] += a.y[i];
  });
}

void add_gated(team& t, const add_gated_args& a) {
  t.parallel(a.rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      const float g = 1.0f / (1.0f + exp_f32(-a.gate[row]));
      for (auto i = row * a.cols; i < (row + 1) * a.cols; ++i) a.x[i] = std::fma(g, a.y[i], a.x[i]);
    }
  });
}

void clamp(team& t, const clamp_args& a) {
  t.parallel(a.rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row)
      for (auto* x = a.x + row * a.stride; x != a.x + row * a.stride + a.cols; ++x) {
        if (*x > a.limit) *x = a.limit;
        if (*x < -a.limit) *x = -a.limit;
      }
  });
}

} // namespace quadrant::gpu::reference
