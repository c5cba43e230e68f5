// gpu/cpu/reference/row_math.hpp: what several row ops share: 16-lane sums (rule 3) and quantisation (rules 4, 5).
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "gpu/math.hpp"
#include "gpu/ops.hpp"

namespace quadrant::gpu::reference {

inline constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();

/// Element i goes to lane i mod 16 by `lane = accumulate(lane, i)`, in order; then the lanes fold 8, 4, 2, 1.
template <class Accumulate>
float sum_16_lanes(std::int64_t n, Accumulate accumulate) {
  float lane[16] = {};
  for (std::int64_t i = 0; i < n; ++i) lane[i % 16] = accumulate(lane[i % 16], i);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] = lane[i] + lane[i + half];
  return lane[0];
}

/// q = round(x / scale), scale = amax / 127. amax 0 gives scale 0; NaN or Inf gives scale NaN and q 0.
/// Returns the scale.
inline float quantise_run(const float* x, std::int32_t n, std::int8_t* q) {
  float amax = 0;
  bool finite = true;
  for (std::int32_t i = 0; i < n; ++i) {
    const float a = std::fabs(x[i]);
    finite = finite && a <= std::numeric_limits<float>::max();
    amax = a > amax ? a : amax;
  }
  if (!finite || amax == 0) {
    for (std::int32_t i = 0; i < n; ++i) q[i] = 0;
    return finite ? 0.0f : nan_f32;
  }
  const float scale = amax / 127.0f;
  for (std::int32_t i = 0; i < n; ++i)
    q[i] = std::int8_t(std::nearbyintf(std::fmin(std::fmax(x[i] / scale, -127.0f), 127.0f)));
  return scale;
}

/// Writes one row in its act form. `stride_rows` is the row's number.
inline void store_act(const float* x, std::int64_t row, std::int32_t cols, bool to_bf16_values, const act_view& out) {
  if (out.f != nullptr)
    for (std::int32_t c = 0; c < cols; ++c) out.f[row * cols + c] = to_bf16_values ? round_bf16(x[c]) : x[c];
  if (out.q == nullptr) return;
  const auto group = out.scale_group == 0 ? cols : out.scale_group;
  for (std::int32_t c = 0; c < cols; c += group)
    out.scale[row * (cols / group) + c / group] = quantise_run(x + c, group, out.q + row * cols + c);
}

} // namespace quadrant::gpu::reference
