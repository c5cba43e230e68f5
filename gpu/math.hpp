// gpu/math.hpp: the scalar functions of the numerics contract: no libm (rule 2), the same bits in every back-end.
// The vector back-ends repeat exactly these steps per lane.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace quadrant::gpu {

/// bf16 by integer round to nearest even; NaN stays NaN.
inline std::uint16_t to_bf16(float x) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return std::uint16_t((u >> 16) | 0x40u);
  return std::uint16_t((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
inline float from_bf16(std::uint16_t b) noexcept { return std::bit_cast<float>(std::uint32_t(b) << 16); }
inline float round_bf16(float x) noexcept { return from_bf16(to_bf16(x)); }

/// e^x. Below -87 gives 0, above 88 gives +inf, NaN stays. Relative error below 2.5e-7: degree 6 within half of ln 2.
inline float exp_f32(float x) noexcept {
  if (!(x == x)) return x;
  if (x < -87.0f) return 0.0f;
  if (x > 88.0f) return std::bit_cast<float>(0x7f800000u);
  const float n = std::nearbyintf(x * 1.44269504f);
  float r = std::fma(n, -0.693145752f, x);
  r = std::fma(n, -1.42860677e-6f, r);
  float p = 1.38888892e-3f; // 1/720
  p = std::fma(p, r, 8.33333377e-3f);
  p = std::fma(p, r, 4.16666679e-2f);
  p = std::fma(p, r, 1.66666672e-1f);
  p = std::fma(p, r, 0.5f);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  return p * std::bit_cast<float>(std::uint32_t(std::int32_t(n) + 127) << 23);
}

/// 255 * 2^x for x <= 0: attention's weights before they are rounded to u8. Relative error below 1.1e-4, a fortieth of
/// such a step; below 2^-126, and for NaN, as for x = -126. Minimax of degree 3 within half of 0, exact at 0.
inline float exp2_255(float x) noexcept {
  x = x > -126.0f ? x : -126.0f;
  const float shifted = x + 12582912.0f; // 1.5 * 2^23: the sum's low bits are the nearest integer
  const float f = x - (shifted - 12582912.0f);
  float p = 14.027277f;
  p = std::fma(p, f, 61.7637939f);
  p = std::fma(p, f, 176.78714f);
  p = std::fma(p, f, 255.0f);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(shifted) << 23));
}

/// Natural logarithm of a positive normal number; relative error below 3e-7.
float log_f32(float x) noexcept;

/// Double versions for tables made once at load: relative error below 1e-14 on the ranges used here.
double exp_f64(double x) noexcept;
double log_f64(double x) noexcept;
double sin_f64(double x) noexcept; ///< |x| < 2^30
double cos_f64(double x) noexcept; ///< |x| < 2^30

/// Philox4x32-10 (Salmon et al., SC'11): four random words of (counter, key).
struct philox_words {
  std::uint32_t word[4];
};
philox_words philox(const std::uint32_t (&counter)[4], const std::uint32_t (&key)[2]) noexcept;

} // namespace quadrant::gpu
