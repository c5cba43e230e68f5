// gpu/cpu/simd/words_avx2.hpp: the words of words_avx512.hpp for AVX2 with FMA: 16 lanes are two registers.
// Included by avx2.cpp alone, which is the only file compiled for these instructions
#pragma once
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "gpu/cpu/simd/words_any.hpp"

namespace quadrant::gpu::simd {
namespace {

struct f32x16 {
  __m256 lo, hi;
};
struct i32x16 {
  __m256i lo, hi;
};
struct mask16 { ///< all ones or zeros a lane
  __m256 lo, hi;
};
using quad = __m256i;

inline constexpr int tile_rows = 4; ///< a tile of rows x panels: 8 registers of sums of the 16
constexpr int tile_panels(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }

inline constexpr int most_rows_streamed = 4;                              ///< of a linear that reads each panel once
inline constexpr bool sums_fit_registers = false, halves_together = true; ///< of the tile of an int8 linear
inline constexpr int linear_panels = 1;                                   ///< of that tile

QUADRANT_WORD mask16 first(int n) {
  const auto lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), lane))};
}
QUADRANT_WORD mask16 both(mask16 a, mask16 b) { return {_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi)}; }
QUADRANT_WORD mask16 without(mask16 a, mask16 b) { ///< a and not b
  return {_mm256_andnot_ps(b.lo, a.lo), _mm256_andnot_ps(b.hi, a.hi)};
}
QUADRANT_WORD std::uint32_t bits_of(mask16 m) { ///< bit i: lane i
  return std::uint32_t(_mm256_movemask_ps(m.lo)) | std::uint32_t(_mm256_movemask_ps(m.hi)) << 8;
}
QUADRANT_WORD bool any(mask16 m) { return _mm256_movemask_ps(_mm256_or_ps(m.lo, m.hi)) != 0; }

QUADRANT_WORD f32x16 all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
QUADRANT_WORD i32x16 all(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
QUADRANT_WORD f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
QUADRANT_WORD f32x16 load(const float* p, int n) {
  if (n >= 16) return load(p);
  const auto m = first(n);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)),
          n <= 8 ? _mm256_setzero_ps() : _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
}
QUADRANT_WORD void store(float* p, f32x16 x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}
QUADRANT_WORD void store(float* p, f32x16 x, int n) {
  if (n >= 16) return store(p, x);
  float lanes[16];
  store(lanes, x);
  __builtin_memcpy(p, lanes, std::size_t(n) * sizeof(float));
}
QUADRANT_WORD i32x16 load(const std::int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p) + 1)};
}
QUADRANT_WORD void store(std::int32_t* p, i32x16 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p) + 1, x.hi);
}

QUADRANT_WORD f32x16 add(f32x16 a, f32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
QUADRANT_WORD f32x16 sub(f32x16 a, f32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
QUADRANT_WORD f32x16 mul(f32x16 a, f32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
QUADRANT_WORD f32x16 div(f32x16 a, f32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
QUADRANT_WORD f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
QUADRANT_WORD f32x16 fms(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmsub_ps(a.lo, b.lo, c.lo), _mm256_fmsub_ps(a.hi, b.hi, c.hi)};
}
QUADRANT_WORD f32x16 abs(f32x16 a) {
  const auto sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
QUADRANT_WORD f32x16 higher(f32x16 a, f32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
QUADRANT_WORD f32x16 lower(f32x16 a, f32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
QUADRANT_WORD f32x16 rint(f32x16 a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
QUADRANT_WORD mask16 less(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
QUADRANT_WORD mask16 at_most(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LE_OQ)};
}
QUADRANT_WORD mask16 equal(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
QUADRANT_WORD mask16 is_nan(f32x16 a) {
  return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)};
}
QUADRANT_WORD f32x16 pick(mask16 m, f32x16 yes, f32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
QUADRANT_WORD f32x16 as_f32(i32x16 a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
QUADRANT_WORD i32x16 as_i32(f32x16 a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
QUADRANT_WORD i32x16 pick(mask16 m, i32x16 yes, i32x16 no) { return as_i32(pick(m, as_f32(yes), as_f32(no))); }

QUADRANT_WORD i32x16 add(i32x16 a, i32x16 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
QUADRANT_WORD i32x16 sub(i32x16 a, i32x16 b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
QUADRANT_WORD i32x16 higher(i32x16 a, i32x16 b) { return {_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)}; }
QUADRANT_WORD i32x16 both(i32x16 a, i32x16 b) { return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
QUADRANT_WORD i32x16 either(i32x16 a, i32x16 b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
QUADRANT_WORD i32x16 exclusive(i32x16 a, i32x16 b) {
  return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
QUADRANT_WORD void multiply_wide(__m256i a, std::uint32_t b, __m256i& high, __m256i& low) {
  const auto factor = _mm256_set1_epi32(std::int32_t(b));
  const auto even = _mm256_mul_epu32(a, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
/// The 64 bits of a * b, unsigned, in each lane.
QUADRANT_WORD void multiply_wide(i32x16 a, std::uint32_t b, i32x16& high, i32x16& low) {
  multiply_wide(a.lo, b, high.lo, low.lo);
  multiply_wide(a.hi, b, high.hi, low.hi);
}
template <int N>
QUADRANT_WORD i32x16 left(i32x16 a) {
  return {_mm256_slli_epi32(a.lo, N), _mm256_slli_epi32(a.hi, N)};
}
template <int N>
QUADRANT_WORD i32x16 right(i32x16 a) {
  return {_mm256_srli_epi32(a.lo, N), _mm256_srli_epi32(a.hi, N)};
}
QUADRANT_WORD i32x16 nearest(f32x16 a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
QUADRANT_WORD f32x16 to_f32(i32x16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

QUADRANT_WORD i32x16 load_i8(const std::int8_t* p) {
  const auto bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
QUADRANT_WORD __m256i narrow(i32x16 x) { ///< to i16, lanes in order
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8);
}
QUADRANT_WORD void store_i8(std::int8_t* p, i32x16 x, int n = 16) {
  const auto words = narrow(x);
  const auto bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  if (n >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  __builtin_memcpy(p, &bytes, std::size_t(n));
}
QUADRANT_WORD void store_u8(std::uint8_t* p, i32x16 x) {
  const auto words = narrow(x);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
QUADRANT_WORD i32x16 load_u16(const std::uint16_t* p, int n = 16) {
  __m256i words = _mm256_setzero_si256();
  if (n >= 16)
    words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  else
    __builtin_memcpy(&words, p, std::size_t(n) * 2);
  return {_mm256_cvtepu16_epi32(_mm256_castsi256_si128(words)),
          _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1))};
}
QUADRANT_WORD void store_u16(std::uint16_t* p, i32x16 x, int n) { ///< lanes in [0, 65535]
  const auto words = _mm256_permute4x64_epi64(_mm256_packus_epi32(x.lo, x.hi), 0xd8);
  if (n >= 16) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), words);
  __builtin_memcpy(p, &words, std::size_t(n) * 2);
}

/// exp2_255 of math.hpp.
QUADRANT_WORD f32x16 exp2_255(f32x16 x) {
  x = higher(x, all(-126.0f));
  const auto shifted = add(x, all(12582912.0f)), f = sub(x, sub(shifted, all(12582912.0f)));
  auto p = fma(all(14.027277f), f, all(61.7637939f));
  p = fma(p, f, all(176.78714f));
  p = fma(p, f, all(255.0f));
  return as_f32(add(as_i32(p), left<23>(as_i32(shifted))));
}

QUADRANT_WORD float fold_sum(f32x16 x) {
  const auto eight = _mm256_add_ps(x.lo, x.hi);
  const auto four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const auto two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
QUADRANT_WORD float fold_max(f32x16 x) {
  const auto eight = _mm256_max_ps(x.lo, x.hi);
  const auto four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const auto two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
QUADRANT_WORD std::int32_t fold_sum(i32x16 x) {
  const auto eight = _mm256_add_epi32(x.lo, x.hi);
  const auto four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const auto two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
QUADRANT_WORD std::int32_t fold_max(i32x16 x) {
  const auto eight = _mm256_max_epi32(x.lo, x.hi);
  const auto four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const auto two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
QUADRANT_WORD std::int32_t fold_min(i32x16 x) {
  const auto eight = _mm256_min_epi32(x.lo, x.hi);
  const auto four = _mm_min_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const auto two = _mm_min_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_min_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/// Stores 64 lanes in [0, 255] as bytes; returns their sum.
QUADRANT_WORD std::int32_t store_weights(std::uint8_t* to, const i32x16 (&w)[4]) {
  for (int i = 0; i < 4; ++i) store_u8(to + 16 * i, w[i]);
  return fold_sum(add(add(w[0], w[1]), add(w[2], w[3])));
}

/// acc[lane] += u8[lane][0..3] . i8[lane][0..3]; a pair of products may not leave i16: vpmaddubsw saturates.
QUADRANT_WORD void dot_u8_i8(__m256i& acc, __m256i u8, __m256i i8) {
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u8, i8), _mm256_set1_epi16(1)));
}

/// The compiler no longer knows what x holds.
QUADRANT_WORD void hide(__m256i& x) { asm volatile("" : "+x"(x)); }
QUADRANT_WORD void hide(i32x16& x) {
  hide(x.lo);
  hide(x.hi);
}

QUADRANT_WORD quad all_quads(const void* p) {
  std::int32_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return _mm256_set1_epi32(four);
}

QUADRANT_WORD std::int32_t sum_bytes(const std::int8_t* p, int n) {
  auto acc = _mm256_setzero_si256();
  int i = 0;
  for (; i + 32 <= n; i += 32)
    dot_u8_i8(acc, _mm256_set1_epi8(1), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i)));
  auto sum = fold_sum(i32x16{acc, _mm256_setzero_si256()});
  for (; i < n; ++i) sum += p[i];
  return sum;
}

/// |w| . (x with w's sign): 2 * 127 * 127 fits i16.
struct i8_weights {
  struct word {
    __m256i lo, hi;
  };
  static constexpr std::size_t bytes_per_8k = 128;
  static constexpr std::int32_t offset = 0;
  QUADRANT_WORD static word at(const std::byte* p, int half) {
    const auto* from = reinterpret_cast<const __m256i*>(p + std::ptrdiff_t(half) * 64);
    return {_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
  }
  QUADRANT_WORD static void dot(i32x16& acc, word w, quad x) {
    dot_u8_i8(acc.lo, _mm256_abs_epi8(w.lo), _mm256_sign_epi8(x, w.lo));
    dot_u8_i8(acc.hi, _mm256_abs_epi8(w.hi), _mm256_sign_epi8(x, w.hi));
  }
  QUADRANT_WORD static void dot_both(i32x16& acc, word even, word odd, quad x0, quad x4) {
    dot(acc, even, x0);
    dot(acc, odd, x4);
  }
};

struct i4_weights { ///< 2 * 15 * 127 fits i16
  using word = i8_weights::word;
  static constexpr std::size_t bytes_per_8k = 64;
  QUADRANT_WORD static word at(const std::byte* p, int half) {
    const auto* from = reinterpret_cast<const __m256i*>(p);
    const auto nibbles = [half](__m256i bytes) {
      return _mm256_and_si256(half == 0 ? bytes : _mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
    };
    return {nibbles(_mm256_loadu_si256(from)), nibbles(_mm256_loadu_si256(from + 1))};
  }
  QUADRANT_WORD static void dot(i32x16& acc, word w, quad x) {
    dot_u8_i8(acc.lo, w.lo, x);
    dot_u8_i8(acc.hi, w.hi, x);
  }
  /// Both halves of 8 k: 4 * 15 * 127 still fits i16, so they are one sum before it is widened.
  QUADRANT_WORD static void dot_both(i32x16& acc, word even, word odd, quad x0, quad x4) {
    const auto ones = _mm256_set1_epi16(1);
    const auto sum = [&](__m256i w0, __m256i w4) {
      return _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w4, x4)), ones);
    };
    acc.lo = _mm256_add_epi32(acc.lo, sum(even.lo, odd.lo));
    acc.hi = _mm256_add_epi32(acc.hi, sum(even.hi, odd.hi));
  }
};

struct values_i8 { ///< 2 * 255 * 127 does not fit i16: even and odd bytes apart
  using word = i8_weights::word;
  static constexpr std::size_t bytes_per_8k = 128;
  QUADRANT_WORD static word at(const std::byte* p, int half) { return i8_weights::at(p, half); }
  QUADRANT_WORD static void dot(i32x16& acc, word w, quad x) {
    const auto even = _mm256_and_si256(x, _mm256_set1_epi16(0xff)),
               odd = _mm256_andnot_si256(_mm256_set1_epi16(0xff), x);
    dot_u8_i8(acc.lo, even, w.lo);
    dot_u8_i8(acc.lo, odd, w.lo);
    dot_u8_i8(acc.hi, even, w.hi);
    dot_u8_i8(acc.hi, odd, w.hi);
  }
  QUADRANT_WORD static void dot_both(i32x16& acc, word even, word odd, quad x0, quad x4) {
    dot(acc, even, x0);
    dot(acc, odd, x4);
  }
};

} // namespace
} // namespace quadrant::gpu::simd
