// gpu/bench/operands.hpp: operands of the benchmarks: any numbers, the same in every run.
#pragma once
#include <cstdint>
#include <vector>

#include "gpu/ops.hpp"

namespace quadrant::gpu::bench {

/// In [-1, 1).
inline std::vector<float> numbers(std::size_t n) {
  std::vector<float> list(n);
  std::uint32_t state = 1;
  for (auto& x : list) x = float((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
  return list;
}

/// Activation rows as floats and as int8, with a scale for each row or for each `scale_group` columns.
struct act_rows {
  std::vector<float> f, scale;
  std::vector<std::int8_t> q;
  std::int32_t scale_group;

  act_rows(std::int32_t rows, std::int32_t cols, std::int32_t group = 0)
      : f(numbers(std::size_t(rows) * std::size_t(cols))),
        scale(std::size_t(rows) * std::size_t(group == 0 ? 1 : cols / group), 0.01f), scale_group(group) {
    for (const float x : f) q.push_back(std::int8_t(x * 127));
  }
  act_view ints() { return {.q = q.data(), .scale = scale.data(), .scale_group = scale_group}; }
};

} // namespace quadrant::gpu::bench
