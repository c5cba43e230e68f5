#include "gpu/math.hpp"

#include <initializer_list>

namespace quadrant::gpu {
namespace {

constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;

/// sin and cos of r in [-pi/4, pi/4] by their Taylor series: 1/17! is below half an ulp there.
double sin_series(double r) {
  const double z = r * r;
  double p = 2.8114572543455206e-15; // 1/17!
  for (const double c : {-7.647163731819816e-13, 1.6059043836821613e-10, -2.505210838544172e-08, 2.7557319223985893e-06,
                         -1.984126984126984e-04, 8.333333333333333e-03, -1.6666666666666666e-01})
    p = std::fma(p, z, c);
  return std::fma(r * z, p, r);
}
double cos_series(double r) {
  const double z = r * r;
  double p = 4.779477332387385e-14; // 1/16!
  for (const double c : {-1.1470745597729725e-11, 2.08767569878681e-09, -2.755731922398589e-07, 2.48015873015873e-05,
                         -1.388888888888889e-03, 4.1666666666666664e-02, -0.5})
    p = std::fma(p, z, c);
  return std::fma(z, p, 1.0);
}

struct quadrant_angle {
  double r;
  int quarter;
};
/// x = quarter * pi/2 + r, pi/2 in three parts so that r keeps its bits.
quadrant_angle reduce(double x) {
  const double n = std::nearbyint(x * 6.36619772367581382433e-01);
  double r = std::fma(n, -1.57079632673412561417e+00, x);
  r = std::fma(n, -6.07710050630396597660e-11, r);
  r = std::fma(n, -2.02226624879595063154e-21, r);
  return {r, int(std::int64_t(n) & 3)};
}

} // namespace

float log_f32(float x) noexcept {
  if (!(x > 0)) return x == 0 ? -std::bit_cast<float>(0x7f800000u) : std::bit_cast<float>(0x7fc00000u);
  return float(log_f64(double(x)));
}

double exp_f64(double x) noexcept {
  if (!(x == x)) return x;
  if (x < -700) return 0;
  if (x > 700) return std::bit_cast<double>(0x7ff0000000000000u);
  const double n = std::nearbyint(x * 1.44269504088896338700);
  const double r = std::fma(n, -ln2_low, std::fma(n, -ln2_high, x));
  double p = 1.0 / 6227020800.0; // 1/13!
  for (const double f :
       {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0})
    p = std::fma(p, r, 1.0 / f);
  return p * std::bit_cast<double>(std::uint64_t(std::int64_t(n) + 1023) << 52);
}

double log_f64(double x) noexcept {
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1).
  auto bits = std::bit_cast<std::uint64_t>(x);
  auto exponent = std::int64_t(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.41421356237309504880) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 23.0;
  for (const double d : {21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0}) p = std::fma(p, z, 1.0 / d);
  const double e = double(exponent);
  return std::fma(e, ln2_high, std::fma(e, ln2_low, 2.0 * std::fma(s * z, p, s)));
}

double sin_f64(double x) noexcept {
  const auto [r, quarter] = reduce(x);
  const double v = (quarter & 1) != 0 ? cos_series(r) : sin_series(r);
  return (quarter & 2) != 0 ? -v : v;
}

double cos_f64(double x) noexcept {
  const auto [r, quarter] = reduce(x);
  const double v = (quarter & 1) != 0 ? sin_series(r) : cos_series(r);
  return quarter == 1 || quarter == 2 ? -v : v;
}

philox_words philox(const std::uint32_t (&counter)[4], const std::uint32_t (&key)[2]) noexcept {
  std::uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0], p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    const std::uint32_t next[4] = {std::uint32_t(p1 >> 32) ^ c[1] ^ k[0], std::uint32_t(p1),
                                   std::uint32_t(p0 >> 32) ^ c[3] ^ k[1], std::uint32_t(p0)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return {{c[0], c[1], c[2], c[3]}};
}

} // namespace quadrant::gpu
