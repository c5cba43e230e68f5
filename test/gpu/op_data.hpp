// test/gpu/op_data.hpp: random operands, and "every back-end gives the reference's bits".
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include "gpu/backend.hpp"
#include "gpu/ops.hpp"
#include "test/support/property.hpp"

namespace quadrant::test {

inline constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();
inline constexpr float inf_f32 = std::numeric_limits<float>::infinity();

/// Operands from one seed, so that rapidcheck has one number to draw and a failure one number to print.
class op_data {
public:
  explicit op_data(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() { // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::int32_t below(std::int32_t n) { return std::int32_t(next() % std::uint64_t(n)); }
  std::int32_t between(std::int32_t low, std::int32_t high) { return low + below(high - low + 1); } ///< both included
  bool coin() { return below(2) == 0; }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return list.begin()[below(std::int32_t(list.size()))];
  }

  /// Mostly ordinary; now and then 0, -0, tiny, denormal or large.
  float real() {
    const float ordinary = float(std::int64_t(next() >> 40)) * 0x1p-23f - 1.0f;
    switch (below(64)) {
    case 0: return 0.0f;
    case 1: return -0.0f;
    case 2: return ordinary * 1e-30f;
    case 3: return ordinary * 1e-40f;
    case 4: return ordinary * 1e4f;
    default: return ordinary;
    }
  }
  std::vector<float> reals(std::int64_t n) {
    std::vector<float> list(static_cast<std::size_t>(n));
    for (auto& x : list) x = real();
    return list;
  }
  /// Rows, of which some are zero, and with `unsound` some hold a NaN or an Inf.
  std::vector<float> rows(std::int32_t count, std::int32_t cols, bool unsound = false) {
    auto list = reals(std::int64_t(count) * cols);
    for (std::int32_t r = 0; r < count && cols > 0; ++r) {
      auto* row = list.data() + std::size_t(r) * std::size_t(cols);
      if (below(8) == 0) std::fill(row, row + cols, 0.0f);
      if (unsound && below(4) == 0) row[below(cols)] = one_of({nan_f32, inf_f32, -inf_f32});
    }
    return list;
  }
  std::vector<std::int8_t> ints(std::int64_t n) { ///< in [-127, 127]
    std::vector<std::int8_t> list(static_cast<std::size_t>(n));
    for (auto& x : list) x = std::int8_t(below(16) == 0 ? one_of({-127, 127}) : between(-127, 127));
    return list;
  }

private:
  std::uint64_t state_;
};

/// Everything that an op wrote. All NaNs are one: which of two NaNs an addition keeps is not promised.
struct outcome {
  std::vector<float> f{};
  std::vector<std::int8_t> q{};
  std::vector<std::int32_t> i{};
  std::vector<std::uint64_t> u{};

  bool operator==(const outcome& b) const {
    const auto same = [](float x, float y) {
      return (x != x && y != y) || std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y);
    };
    return q == b.q && i == b.i && u == b.u && std::ranges::equal(f, b.f, same);
  }
};

inline const gpu::ops_table& reference_ops() { return *gpu::ops_for(gpu::isa::scalar).value(); }

/// What an op leaves in memory that it must not touch.
inline constexpr float untouched = 12345.0f;

inline gpu::team& team_of(int threads) {
  static gpu::team alone({.num_threads = 1}), three({.num_threads = 3});
  return threads == 1 ? alone : three;
}

/// run(ops, team) -> outcome, for every back-end of this processor and for one thread and several.
template <class Run>
void every_back_end_agrees(Run run) {
  const outcome expected = run(reference_ops(), team_of(1));
  for (const auto isa : gpu::available_isas())
    for (const int threads : {1, 3}) {
      const auto& ops = *gpu::ops_for(isa).value();
      const outcome got = run(ops, team_of(threads));
      if (got == expected) continue;
      for (std::size_t n = 0; n < got.f.size() && n < expected.f.size(); ++n)
        if (!(outcome{.f = {got.f[n]}} == outcome{.f = {expected.f[n]}})) {
          RC_LOG() << "f[" << n << "] is " << got.f[n] << " and should be " << expected.f[n] << "\n";
          break;
        }
      RC_FAIL(std::string(ops.name) + " with " + std::to_string(threads) + " threads differs from the reference");
    }
}

} // namespace quadrant::test
