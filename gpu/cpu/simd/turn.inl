// gpu/cpu/simd/turn.inl: rows of K and V turned to panels, as the integer and float tiles read them.

namespace quadrant::gpu::simd {
namespace {

/// Four rows of four dwords become four columns, each put at to + column * stride.
QUADRANT_WORD void turn_4x4(const std::byte* const* rows, std::ptrdiff_t offset, std::byte* to, std::ptrdiff_t stride) {
  const auto row = [&](int j) {
    return _mm_castsi128_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[j] + offset)));
  };
  auto a = row(0), b = row(1), c = row(2), d = row(3);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  const auto put = [&](int column, __m128 x) { _mm_storeu_ps(reinterpret_cast<float*>(to + column * stride), x); };
  put(0, a), put(1, b), put(2, c), put(3, d);
}

/// `count` rows (times 4) of `dwords` dwords to [4 panels][dwords][16 positions].
void turn_to_panels(const std::byte* const* rows, std::int32_t count, std::int32_t dwords, std::byte* to) {
  for (std::int32_t j = 0; j < count; j += 4)
    for (std::int32_t d = 0; d < dwords; d += 4)
      turn_4x4(rows + j, std::ptrdiff_t(d) * 4, to + (std::ptrdiff_t(j / 16) * dwords + d) * 64 + j % 16 * 4, 64);
}

/// `count` rows (times 4) of D bytes to [D/16 panels][16][16 of D][4 positions].
void turn_values(const std::byte* const* rows, std::int32_t count, std::int32_t head_dim, std::byte* to) {
  for (std::int32_t j = 0; j < count; j += 4)
    for (std::int32_t d = 0; d < head_dim; d += 16) {
      const auto row = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[j + i] + d)); };
      const auto a = row(0), b = row(1), c = row(2), e = row(3);
      const auto ab0 = _mm_unpacklo_epi8(a, b), ab1 = _mm_unpackhi_epi8(a, b), ce0 = _mm_unpacklo_epi8(c, e),
                 ce1 = _mm_unpackhi_epi8(c, e);
      auto* put = reinterpret_cast<__m128i*>(to + (std::ptrdiff_t(d / 16) * (block_tokens / 4) + j / 4) * 64);
      _mm_storeu_si128(put, _mm_unpacklo_epi16(ab0, ce0));
      _mm_storeu_si128(put + 1, _mm_unpackhi_epi16(ab0, ce0));
      _mm_storeu_si128(put + 2, _mm_unpacklo_epi16(ab1, ce1));
      _mm_storeu_si128(put + 3, _mm_unpackhi_epi16(ab1, ce1));
    }
}

} // namespace
} // namespace quadrant::gpu::simd
