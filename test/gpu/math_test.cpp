// Accuracy of gpu/math.hpp against libm, which tests may use, and the generator against its authors' vectors.
#include <bit>
#include <cmath>
#include <initializer_list>
#include <limits>

#include <doctest/doctest.h>

#include "gpu/math.hpp"

namespace quadrant::test {
namespace {

/// Floats from low to high in about n steps that are even in bits, so that every binade is seen.
template <class Fn>
void sweep(float low, float high, int n, Fn fn) {
  for (int i = 0; i <= n; ++i) fn(low + (high - low) * (float(i) / float(n)));
}
template <class Fn>
void sweep_bits(std::uint32_t low, std::uint32_t high, std::uint32_t step, Fn fn) {
  for (auto u = low; u < high; u += step) fn(std::bit_cast<float>(u));
}

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

} // namespace

TEST_CASE("exp_f32 is within 2.5e-7 of e^x, and exact at its ends") {
  double worst = 0;
  sweep(-87, 88, 400'000,
        [&](float x) { worst = std::max(worst, std::abs(double(gpu::exp_f32(x)) / std::exp(double(x)) - 1)); });
  sweep(-1, 1, 200'000,
        [&](float x) { worst = std::max(worst, std::abs(double(gpu::exp_f32(x)) / std::exp(double(x)) - 1)); });
  CHECK(worst < 2.5e-7);
  CHECK(gpu::exp_f32(0) == 1);
  CHECK(gpu::exp_f32(-0.0f) == 1);
  CHECK(gpu::exp_f32(-87.01f) == 0);
  CHECK(gpu::exp_f32(-inf) == 0);
  CHECK(gpu::exp_f32(88.01f) == inf);
  CHECK(gpu::exp_f32(inf) == inf);
  CHECK(std::isnan(gpu::exp_f32(nan)));
}

TEST_CASE("exp2_255 is within 1.1e-4 of 255 * 2^x, exact at 0, never more than 255, and next to nothing far away") {
  double worst = 0;
  float most = 0;
  sweep(-126, 0, 400'000, [&](float x) {
    const float y = gpu::exp2_255(x);
    worst = std::max(worst, std::abs(double(y) / (255.0 * std::exp2(double(x))) - 1));
    most = std::max(most, y);
  });
  CHECK(worst < 1.1e-4);
  CHECK(most == 255.0f);
  CHECK(gpu::exp2_255(0) == 255.0f);
  CHECK(gpu::exp2_255(-0.0f) == 255.0f);
  for (const float x : {-127.0f, -1e30f, -inf, nan}) CHECK(gpu::exp2_255(x) == gpu::exp2_255(-126.0f));
  CHECK(gpu::exp2_255(-126.0f) < 1e-30f);
}

TEST_CASE("exp_f32 does not fall where x rises") {
  float before = 0;
  bool rises = true;
  sweep_bits(std::bit_cast<std::uint32_t>(1e-6f), std::bit_cast<std::uint32_t>(88.0f), 601, [&](float x) {
    const float y = gpu::exp_f32(x);
    rises = rises && y >= before * (1 - 2e-7f);
    before = y;
  });
  CHECK(rises);
}

TEST_CASE("log_f32 is within 3e-7 of ln x") {
  double worst = 0;
  sweep_bits(std::bit_cast<std::uint32_t>(1.2e-38f), std::bit_cast<std::uint32_t>(3e38f), 8'191, [&](float x) {
    const double expected = std::log(double(x));
    if (expected != 0) worst = std::max(worst, std::abs(double(gpu::log_f32(x)) / expected - 1));
  });
  CHECK(worst < 3e-7);
  CHECK(gpu::log_f32(1) == 0);
  CHECK(gpu::log_f32(0) == -inf);
  CHECK(std::isnan(gpu::log_f32(-1)));
  CHECK(std::isnan(gpu::log_f32(nan)));
}

TEST_CASE("the double functions are within 1e-14") {
  double exp_worst = 0, log_worst = 0, sin_worst = 0, cos_worst = 0;
  for (int i = -200'000; i <= 200'000; ++i) {
    const double x = i * 0.0034567;
    exp_worst = std::max(exp_worst, std::abs(gpu::exp_f64(x) / std::exp(x) - 1));
    if (i > 0)
      log_worst = std::max(log_worst, std::abs(gpu::log_f64(x) - std::log(x)) / std::max(1e-3, std::abs(std::log(x))));
    // Angles up to 2^17: positions of RoPE.
    const double angle = i * 0.6543217;
    sin_worst = std::max(sin_worst, std::abs(gpu::sin_f64(angle) - std::sin(angle)));
    cos_worst = std::max(cos_worst, std::abs(gpu::cos_f64(angle) - std::cos(angle)));
  }
  CHECK(exp_worst < 1e-14);
  CHECK(log_worst < 1e-14);
  CHECK(sin_worst < 1e-14);
  CHECK(cos_worst < 1e-14);
  CHECK(gpu::sin_f64(0) == 0);
  CHECK(gpu::cos_f64(0) == 1);
}

TEST_CASE("bf16 is the nearest, ties to even, NaN stays NaN") {
  for (std::uint32_t high = 0; high < 0x10000; high += 3) {
    const float low = gpu::from_bf16(std::uint16_t(high));
    if (!std::isfinite(low)) continue;
    CHECK_MESSAGE(gpu::to_bf16(low) == high, high);
    const auto bits = std::bit_cast<std::uint32_t>(low);
    CHECK((gpu::to_bf16(std::bit_cast<float>(bits | 0x7fffu)) == high));
    CHECK((gpu::to_bf16(std::bit_cast<float>(bits | 0x8001u)) == high + 1));
    CHECK((gpu::to_bf16(std::bit_cast<float>(bits | 0x8000u)) == high + (high & 1)));
  }
  CHECK(std::isnan(gpu::round_bf16(nan)));
  CHECK(std::isnan(gpu::round_bf16(std::bit_cast<float>(0x7f800001u)))); // a NaN whose kept bits are all zero
  CHECK(gpu::round_bf16(inf) == inf);
  CHECK(gpu::round_bf16(std::numeric_limits<float>::max()) == inf);
}

TEST_CASE("philox gives the known answers of its authors (Random123, philox4x32-10)") {
  const auto check = [](const std::uint32_t(&counter)[4], const std::uint32_t(&key)[2],
                        const std::uint32_t(&expected)[4]) {
    const auto words = gpu::philox(counter, key);
    for (int i = 0; i < 4; ++i) CHECK(words.word[i] == expected[i]);
  };
  check({0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
        {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
        {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

} // namespace quadrant::test
