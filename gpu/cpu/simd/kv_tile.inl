// gpu/cpu/simd/kv_tile.inl: K and V of a block, turned to what the integer and float tiles of linear.inl read.

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

/// 64 rows of `dwords` dwords to [4 panels][dwords][16 positions].
void turn_to_panels(const std::byte* const* rows, std::int32_t dwords, std::byte* to) {
  for (std::int32_t j = 0; j < block_tokens; j += 4)
    for (std::int32_t d = 0; d < dwords; d += 4)
      turn_4x4(rows + j, std::ptrdiff_t(d) * 4, to + (std::ptrdiff_t(j / 16) * dwords + d) * 64 + j % 16 * 4, 64);
}

/// 64 rows of D bytes to [D/16 panels][16][16 of D][4 positions].
void turn_values(const std::byte* const* rows, std::int32_t head_dim, std::byte* to) {
  for (std::int32_t j = 0; j < block_tokens; j += 4)
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

/// K and V of 64 positions, turned. Rows past `filled` are zero. Lives in this thread's scratch memory.
struct kv_tile {
  std::byte* k; ///< i8: [4 panels][D/4][16 positions][4]; f32: [4 panels][D][16 positions]
  std::byte* v; ///< i8: [D/16 panels][16][16 of D][4 positions]; f32: [64][D]
  float k_scale[block_tokens], v_scale[block_tokens];
  std::int32_t filled;
  bool open;

  void load(const attend_args& a, const sequence_rows& seq, std::int32_t kv_head, std::int32_t block, bool is_open) {
    const auto& l = a.layout;
    const auto width = std::int32_t(l.head_dim() * (l.type() == dtype::i8 ? 1 : 4)); // bytes of a row in the tile
    const std::byte *k_rows[block_tokens], *v_rows[block_tokens];
    open = is_open;
    find_rows(a, seq, kv_head, block, k_rows, v_rows);
    auto* rows = scratch<std::byte>(slot::values,
                                    std::int64_t(2 * block_tokens + 1) * width + std::int64_t(block_tokens) * width);
    auto *words = rows + std::ptrdiff_t(block_tokens) * width, *zero = words + std::ptrdiff_t(2 * block_tokens) * width;
    k = scratch<std::byte>(slot::keys, std::int64_t(block_tokens) * width);
    v = rows;
    __builtin_memset(zero, 0, std::size_t(width));
    if (l.type() == dtype::bf16)
      for (std::int32_t j = 0; j < filled; ++j) { // to f32 first
        auto *k_words = reinterpret_cast<float*>(words) + std::ptrdiff_t(j) * l.head_dim(),
             *v_words = k_words + std::ptrdiff_t(block_tokens) * l.head_dim();
        for (std::int32_t d = 0; d < l.head_dim(); d += 16) {
          store(k_words + d, from_bf16(load_u16(reinterpret_cast<const std::uint16_t*>(k_rows[j]) + d)));
          store(v_words + d, from_bf16(load_u16(reinterpret_cast<const std::uint16_t*>(v_rows[j]) + d)));
        }
        k_rows[j] = reinterpret_cast<const std::byte*>(k_words),
        v_rows[j] = reinterpret_cast<const std::byte*>(v_words);
      }
    for (auto j = filled; j < block_tokens; ++j) k_rows[j] = v_rows[j] = zero, k_scale[j] = v_scale[j] = 0;
    turn_to_panels(k_rows, width / 4, k);
    if (l.type() == dtype::i8)
      turn_values(v_rows, l.head_dim(), v);
    else
      for (std::int32_t j = 0; j < filled; ++j)
        __builtin_memcpy(v + std::ptrdiff_t(j) * width, v_rows[j], std::size_t(width));
  }

private:
  /// Where the rows of a block lie: in the pool, or among the own rows.
  void find_rows(const attend_args& a, const sequence_rows& seq, std::int32_t kv_head, std::int32_t block,
                 const std::byte** k_rows, const std::byte** v_rows) {
    const auto& l = a.layout;
    const auto row_bytes = std::ptrdiff_t(l.row_bytes());
    const auto last = seq.first_position + seq.num_rows - 1;
    filled = open ? std::min(block_tokens, last - block * block_tokens + 1) : block_tokens;
    const auto* slice = slice_at(const_cast<std::byte*>(a.pool), l, seq.blocks[block], a.layer, kv_head);
    const auto own =
        (std::int64_t(seq.own_row) + std::int64_t(block - seq.first_position / block_tokens) * block_tokens) *
            l.num_kv_heads +
        kv_head;
    for (std::int32_t j = 0; j < filled; ++j) {
      const auto at = own + std::int64_t(j) * l.num_kv_heads;
      k_rows[j] = open ? static_cast<const std::byte*>(a.own.k) + at * row_bytes : slice + l.k_offset() + j * row_bytes;
      v_rows[j] = open ? static_cast<const std::byte*>(a.own.v) + at * row_bytes : slice + l.v_offset() + j * row_bytes;
      if (l.type() != dtype::i8) continue;
      k_scale[j] = open ? a.own.k_scale[at] : reinterpret_cast<const float*>(slice + l.k_scale_offset())[j];
      v_scale[j] = open ? a.own.v_scale[at] : reinterpret_cast<const float*>(slice + l.v_scale_offset())[j];
    }
  }
};

} // namespace
} // namespace quadrant::gpu::simd
