// gpu/cpu/simd/kv_tile.inl: K and V of one block and KV head as attention's tiles read them: a sealed int8 block lies so
// in the pool; an open one, and floats, are turned.

namespace quadrant::gpu::simd {
namespace {

/// K and V of 64 positions. Past an open block's last one K is anything; int8 V is zero up to a whole step of 8, and not
/// to be read further, as f32 V. What is turned lies in this thread's scratch memory.
struct kv_tile {
  const std::byte* k;             ///< i8: [4 panels][D/4][16 positions][4]; f32: [4 panels][D][16 positions]
  const std::byte* v;             ///< i8: [D/16 panels][16][16 of D][4 positions]; f32: [64][D]
  const float *k_scale, *v_scale; ///< i8: [64] of an open block, [1] of a sealed one
  bool open;
};

/// A sealed int8 block.
QUADRANT_WORD kv_tile sealed_tile(const attend_args& a, const sequence_rows& seq, std::int32_t kv_head,
                                  std::int32_t block) {
  const auto& l = a.layout;
  const auto* slice = a.pool + l.slice_offset(seq.blocks[block], a.layer, kv_head);
  return {.k = slice + l.k_offset(),
          .v = slice + l.v_offset(),
          .k_scale = reinterpret_cast<const float*>(slice + l.k_scale_offset()),
          .v_scale = reinterpret_cast<const float*>(slice + l.v_scale_offset()),
          .open = false};
}

/// Any block, turned: the open one from the own rows, another from the pool.
kv_tile turned_tile(const attend_args& a, const sequence_rows& seq, std::int32_t kv_head, std::int32_t block,
                    bool open) {
  const auto& l = a.layout;
  const bool ints = l.type() == dtype::i8;
  const auto k_width = std::int64_t(l.key_dim()) * (ints ? 1 : 4); // bytes of a row in the tile
  const auto v_width = std::int64_t(l.value_dim()) * (ints ? 1 : 4), widest = std::max(k_width, v_width);
  const auto k_bytes = std::ptrdiff_t(l.k_row_bytes()), v_bytes = std::ptrdiff_t(l.v_row_bytes());
  const auto last = seq.first_position + seq.num_rows - 1;
  const auto filled = open ? std::min(block_tokens, last - block * block_tokens + 1) : block_tokens;
  const auto* slice = a.pool + l.slice_offset(seq.blocks[block], a.layer, kv_head);
  const auto own =
      (std::int64_t(seq.own_row) + std::int64_t(block - seq.first_position / block_tokens) * block_tokens) *
          l.num_kv_heads +
      kv_head;
  const auto* first_k = open ? static_cast<const std::byte*>(a.own.k) + own * k_bytes : slice + l.k_offset();
  const auto* first_v = open ? static_cast<const std::byte*>(a.own.v) + own * v_bytes : slice + l.v_offset();
  const auto apart = open ? l.num_kv_heads : 1;

  // Turned K, turned V, rows as floats (bf16), a row of zeros, scales.
  auto* k = scratch<std::byte>(slot::keys, block_tokens * k_width);
  auto* v = scratch<std::byte>(slot::values, block_tokens * (2 * v_width + k_width) + widest);
  auto *k_words = v + block_tokens * v_width, *v_words = k_words + block_tokens * k_width,
       *zero = v_words + block_tokens * v_width;
  auto* scales = scratch<float>(slot::kv_scales, 2 * block_tokens);
  __builtin_memset(zero, 0, std::size_t(widest));
  const std::byte *k_rows[block_tokens], *v_rows[block_tokens];
  for (std::int32_t j = 0; j < block_tokens; ++j) {
    k_rows[j] = j < filled ? first_k + j * apart * k_bytes : zero;
    v_rows[j] = j < filled ? first_v + j * apart * v_bytes : zero;
    scales[j] = ints && j < filled ? a.own.k_scale[own + std::int64_t(j) * l.num_kv_heads] : 0.0f;
    scales[block_tokens + j] = ints && j < filled ? a.own.v_scale[own + std::int64_t(j) * l.num_kv_heads] : 0.0f;
  }
  if (l.type() == dtype::bf16)
    for (std::int32_t j = 0; j < filled; ++j) { // to f32 first
      const auto widen = [](const std::byte*& row, std::byte* to, std::int32_t n) {
        for (std::int32_t d = 0; d < n; d += 16)
          store(reinterpret_cast<float*>(to) + d, from_bf16(load_u16(reinterpret_cast<const std::uint16_t*>(row) + d)));
        row = to;
      };
      widen(k_rows[j], k_words + j * k_width, l.key_dim());
      widen(v_rows[j], v_words + j * v_width, l.value_dim());
    }
  turn_to_panels(k_rows, (filled + 3) / 4 * 4, std::int32_t(k_width / 4), k);
  if (ints)
    turn_values(v_rows, (filled + 7) / 8 * 8, l.value_dim(), v);
  else
    for (std::int32_t j = 0; j < filled; ++j) __builtin_memcpy(v + j * v_width, v_rows[j], std::size_t(v_width));
  return {.k = k, .v = v, .k_scale = scales, .v_scale = scales + block_tokens, .open = open};
}

} // namespace
} // namespace quadrant::gpu::simd
