// gpu/cpu/simd/words_avx512.hpp: the vector words of AVX-512 with VNNI; words_avx2.hpp has the same. *.inl are written
// in them.
//
//   f32x16, i32x16   16 lanes, so that a 16-lane sum (rule 3) and a weight panel are one word in every instruction set
//   mask16           one truth value a lane
//   quad             four bytes, the same in every lane: four neighbouring k of one activation row
//   *_weights        64 bytes [16 lanes][4] that meet a quad: acc[lane] += sum of 4 products, exact
// Included by avx512.cpp alone, which is the only file compiled for these instructions
#pragma once
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "gpu/cpu/simd/words_any.hpp"

namespace quadrant::gpu::simd {
namespace {

using f32x16 = __m512;
using i32x16 = __m512i;
using mask16 = __mmask16;
using quad = __m512i;

inline constexpr int tile_rows = 6; ///< a tile of rows x panels: 24 sums, 4 weights, 1 quad fit the 32 registers
constexpr int tile_panels(int) { return 4; }

inline constexpr int most_rows_streamed = 8;                              ///< of a linear that reads each panel once
inline constexpr bool sums_fit_registers = true, halves_together = false; ///< of the tile of an int8 linear
inline constexpr int linear_panels = 2;                                   ///< of that tile

QUADRANT_WORD mask16 first(int n) { return n >= 16 ? mask16(0xffff) : n <= 0 ? mask16(0) : mask16((1u << n) - 1); }
QUADRANT_WORD mask16 both(mask16 a, mask16 b) { return a & b; }
QUADRANT_WORD mask16 without(mask16 a, mask16 b) { return mask16(a & ~b); } ///< a and not b
QUADRANT_WORD std::uint32_t bits_of(mask16 m) { return m; }                 ///< bit i: lane i
QUADRANT_WORD bool any(mask16 m) { return m != 0; }

QUADRANT_WORD f32x16 all(float x) { return _mm512_set1_ps(x); }
QUADRANT_WORD i32x16 all(std::int32_t x) { return _mm512_set1_epi32(x); }
QUADRANT_WORD f32x16 load(const float* p) { return _mm512_loadu_ps(p); }
QUADRANT_WORD f32x16 load(const float* p, int n) { return n >= 16 ? load(p) : _mm512_maskz_loadu_ps(first(n), p); }
QUADRANT_WORD void store(float* p, f32x16 x) { _mm512_storeu_ps(p, x); }
QUADRANT_WORD void store(float* p, f32x16 x, int n) { n >= 16 ? store(p, x) : _mm512_mask_storeu_ps(p, first(n), x); }
QUADRANT_WORD i32x16 load(const std::int32_t* p) { return _mm512_loadu_si512(p); }
QUADRANT_WORD void store(std::int32_t* p, i32x16 x) { _mm512_storeu_si512(p, x); }

QUADRANT_WORD f32x16 add(f32x16 a, f32x16 b) { return _mm512_add_ps(a, b); }
QUADRANT_WORD f32x16 sub(f32x16 a, f32x16 b) { return _mm512_sub_ps(a, b); }
QUADRANT_WORD f32x16 mul(f32x16 a, f32x16 b) { return _mm512_mul_ps(a, b); }
QUADRANT_WORD f32x16 div(f32x16 a, f32x16 b) { return _mm512_div_ps(a, b); }
QUADRANT_WORD f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a, b, c); }
QUADRANT_WORD f32x16 fms(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmsub_ps(a, b, c); } ///< a * b - c, rounded once
QUADRANT_WORD f32x16 abs(f32x16 a) { return _mm512_abs_ps(a); }
/// a > b ? a : b, so b where either is NaN; lower likewise.
QUADRANT_WORD f32x16 higher(f32x16 a, f32x16 b) { return _mm512_max_ps(a, b); }
QUADRANT_WORD f32x16 lower(f32x16 a, f32x16 b) { return _mm512_min_ps(a, b); }
QUADRANT_WORD f32x16 rint(f32x16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
QUADRANT_WORD mask16 less(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
QUADRANT_WORD mask16 at_most(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
QUADRANT_WORD mask16 equal(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
QUADRANT_WORD mask16 is_nan(f32x16 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
QUADRANT_WORD f32x16 pick(mask16 m, f32x16 yes, f32x16 no) { return _mm512_mask_blend_ps(m, no, yes); }
QUADRANT_WORD i32x16 pick(mask16 m, i32x16 yes, i32x16 no) { return _mm512_mask_blend_epi32(m, no, yes); }

QUADRANT_WORD i32x16 add(i32x16 a, i32x16 b) { return _mm512_add_epi32(a, b); }
QUADRANT_WORD i32x16 sub(i32x16 a, i32x16 b) { return _mm512_sub_epi32(a, b); }
QUADRANT_WORD i32x16 higher(i32x16 a, i32x16 b) { return _mm512_max_epi32(a, b); }
QUADRANT_WORD i32x16 both(i32x16 a, i32x16 b) { return _mm512_and_si512(a, b); }
QUADRANT_WORD i32x16 either(i32x16 a, i32x16 b) { return _mm512_or_si512(a, b); }
QUADRANT_WORD i32x16 exclusive(i32x16 a, i32x16 b) { return _mm512_xor_si512(a, b); }
/// The 64 bits of a * b, unsigned, in each lane.
QUADRANT_WORD void multiply_wide(i32x16 a, std::uint32_t b, i32x16& high, i32x16& low) {
  const auto factor = _mm512_set1_epi32(std::int32_t(b));
  const auto even = _mm512_mul_epu32(a, factor), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), factor);
  high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}
template <int N>
QUADRANT_WORD i32x16 left(i32x16 a) {
  return _mm512_slli_epi32(a, N);
}
template <int N>
QUADRANT_WORD i32x16 right(i32x16 a) { ///< zeros come in
  return _mm512_srli_epi32(a, N);
}
QUADRANT_WORD i32x16 nearest(f32x16 a) { return _mm512_cvtps_epi32(a); } ///< round to nearest even
QUADRANT_WORD f32x16 to_f32(i32x16 a) { return _mm512_cvtepi32_ps(a); }
QUADRANT_WORD f32x16 as_f32(i32x16 a) { return _mm512_castsi512_ps(a); }
QUADRANT_WORD i32x16 as_i32(f32x16 a) { return _mm512_castps_si512(a); }

QUADRANT_WORD i32x16 load_i8(const std::int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
QUADRANT_WORD void store_i8(std::int8_t* p, i32x16 x, int n = 16) { ///< lanes in [-128, 127]
  _mm512_mask_cvtepi32_storeu_epi8(p, first(n), x);
}
QUADRANT_WORD void store_u8(std::uint8_t* p, i32x16 x) { ///< lanes in [0, 255]
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}
QUADRANT_WORD i32x16 load_u16(const std::uint16_t* p, int n = 16) {
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n), p));
}
QUADRANT_WORD void store_u16(std::uint16_t* p, i32x16 x, int n) { _mm512_mask_cvtepi32_storeu_epi16(p, first(n), x); }

/// exp2_255 of math.hpp: vscalefps makes what that does with a shift and additions.
QUADRANT_WORD f32x16 exp2_255(f32x16 x) {
  x = higher(x, all(-126.0f));
  const auto n = rint(x), f = sub(x, n);
  auto p = fma(all(14.027277f), f, all(61.7637939f));
  p = fma(p, f, all(176.78714f));
  p = fma(p, f, all(255.0f));
  return _mm512_scalef_ps(p, n);
}

/// The lanes fold 8, 4, 2, 1 (rule 3).
QUADRANT_WORD float fold_sum(f32x16 x) {
  const auto eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const auto four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const auto two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
QUADRANT_WORD float fold_max(f32x16 x) { ///< no lane NaN
  const auto eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const auto four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const auto two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
QUADRANT_WORD std::int32_t fold_sum(i32x16 x) { return _mm512_reduce_add_epi32(x); }
QUADRANT_WORD std::int32_t fold_max(i32x16 x) { return _mm512_reduce_max_epi32(x); }
QUADRANT_WORD std::int32_t fold_min(i32x16 x) { return _mm512_reduce_min_epi32(x); }

// Inline assembly, because GCC 12 spills the sums of a large tile around _mm512_dpbusd_epi32; on a local, because an
// array's element would be spilled again.
QUADRANT_WORD void dot_u8_i8(i32x16& acc, __m512i u8, __m512i i8) {
  auto sum = acc;
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(u8), "v"(i8));
  acc = sum;
}

/// The compiler no longer knows what x holds.
QUADRANT_WORD void hide(__m512i& x) { asm volatile("" : "+v"(x)); }

QUADRANT_WORD quad all_quads(const void* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}

/// Stores 64 lanes in [0, 255] as bytes; returns their sum.
QUADRANT_WORD std::int32_t store_weights(std::uint8_t* to, const i32x16 (&w)[4]) {
  // Packing works within quarters of a register: byte 16q + 4i + j is lane 4q + j of word i.
  const auto quarters = _mm512_packus_epi16(_mm512_packus_epi32(w[0], w[1]), _mm512_packus_epi32(w[2], w[3]));
  const auto order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto bytes = _mm512_permutexvar_epi32(order, quarters);
  _mm512_storeu_si512(to, bytes);
  auto sum = _mm512_setzero_si512();
  dot_u8_i8(sum, bytes, _mm512_set1_epi8(1));
  return _mm512_reduce_add_epi32(sum);
}

/// Sum of n signed bytes.
QUADRANT_WORD std::int32_t sum_bytes(const std::int8_t* p, int n) {
  auto acc = _mm512_setzero_si512();
  const auto ones = _mm512_set1_epi8(1);
  for (int i = 0; i < n; i += 64) {
    const auto some = n - i >= 64 ? ~__mmask64(0) : (__mmask64(1) << (n - i)) - 1;
    dot_u8_i8(acc, ones, _mm512_maskz_loadu_epi8(some, p + i));
  }
  return _mm512_reduce_add_epi32(acc);
}

/// i8 weights x i8 quads. The weights become unsigned by adding `offset`: the caller takes offset * (sum of the row)
/// away again.
struct i8_weights {
  using word = __m512i;
  static constexpr std::size_t bytes_per_8k = 128;
  static constexpr std::int32_t offset = 128;
  QUADRANT_WORD static word at(const std::byte* p, int half) {
    return _mm512_xor_si512(_mm512_loadu_si512(p + std::ptrdiff_t(half) * 64), _mm512_set1_epi8(-128));
  }
  QUADRANT_WORD static void dot(i32x16& acc, word w, quad x) { dot_u8_i8(acc, w, x); }
};

/// Nibbles 0..15 x i8 quads: `half` 0 is the low nibbles.
struct i4_weights {
  using word = __m512i;
  static constexpr std::size_t bytes_per_8k = 64;
  QUADRANT_WORD static word at(const std::byte* p, int half) {
    const auto bytes = _mm512_loadu_si512(p);
    return _mm512_and_si512(half == 0 ? bytes : _mm512_srli_epi16(bytes, 4), _mm512_set1_epi8(15));
  }
  QUADRANT_WORD static void dot(i32x16& acc, word w, quad x) { dot_u8_i8(acc, w, x); }
  QUADRANT_WORD static void dot_both(i32x16& acc, word even, word odd, quad x0, quad x4) {
    dot(acc, even, x0);
    dot(acc, odd, x4);
  }
};

/// i8 values x u8 quads (attention's P times V).
struct values_i8 {
  using word = __m512i;
  static constexpr std::size_t bytes_per_8k = 128;
  QUADRANT_WORD static word at(const std::byte* p, int half) {
    return _mm512_loadu_si512(p + std::ptrdiff_t(half) * 64);
  }
  QUADRANT_WORD static void dot(i32x16& acc, word w, quad x) { dot_u8_i8(acc, x, w); }
};

} // namespace
} // namespace quadrant::gpu::simd
