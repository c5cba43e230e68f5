// gpu/dtype.hpp: element types at the borders of ops, and the numerics profile that chooses among them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quadrant::gpu {

enum class dtype : std::uint8_t { f32, bf16, i8, i4, i32 };

/// Bits of one element.
constexpr std::size_t bits(dtype t) noexcept {
  switch (t) {
  case dtype::f32:
  case dtype::i32: return 32;
  case dtype::bf16: return 16;
  case dtype::i8: return 8;
  case dtype::i4: return 4;
  }
  return 0;
}

/// One profile per model: prefill and decode differ in kernels and devices, never in numbers.
enum class precision : std::uint8_t { f32, bf16, w8a8, w4a8 };

/// What a profile means, border by border. The residual stream and a pipeline hand-over are f32 in every profile.
struct numerics {
  precision name;
  dtype projection; ///< weights of q, k, v, o
  dtype expert;     ///< weights of gate, up, down
  dtype head;       ///< weights of the LM head (the gate works in f32: rule 10)
  dtype activation; ///< input of a linear: f32; bf16 (values rounded, kept in f32 words); i8 with scales
  dtype kv;         ///< planes of a KV block
  dtype expert_row; ///< what one (token, expert) pair returns to the combine
};

constexpr numerics numerics_of(precision p) noexcept {
  switch (p) {
  case precision::f32: return {p, dtype::f32, dtype::f32, dtype::f32, dtype::f32, dtype::f32, dtype::f32};
  case precision::bf16: return {p, dtype::bf16, dtype::bf16, dtype::bf16, dtype::bf16, dtype::bf16, dtype::bf16};
  case precision::w8a8: return {p, dtype::i8, dtype::i8, dtype::i8, dtype::i8, dtype::i8, dtype::bf16};
  case precision::w4a8: return {p, dtype::i8, dtype::i4, dtype::i8, dtype::i8, dtype::i8, dtype::bf16};
  }
  return {};
}

std::optional<precision> parse_precision(std::string_view word) noexcept; ///< "f32", "bf16", "w8a8", "w4a8"
std::string_view to_string(precision p) noexcept;
std::string_view to_string(dtype t) noexcept;

} // namespace quadrant::gpu
