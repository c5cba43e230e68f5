// gpu/cpu/simd/kv_append.inl: kv_append: rule 7.
// Source  gpu/cpu/reference/attention.cpp

namespace quadrant::gpu::simd {
namespace {

std::byte* slice_at(std::byte* pool, const kv_layout& l, std::int32_t block, std::int32_t layer, std::int32_t head) {
  return pool + l.slice_offset(block, layer, head);
}

/// Stores one row in the plane's type; returns its scale (i8).
float store_row(const float* x, std::int32_t n, dtype type, std::byte* to) {
  if (type == dtype::i8) return quantise_run(x, n, reinterpret_cast<std::int8_t*>(to));
  if (type == dtype::bf16)
    by_16(n, [&](std::int64_t d, int some) {
      store_u16(reinterpret_cast<std::uint16_t*>(to) + d, to_bf16(load(x + d, some)), some);
    });
  else
    __builtin_memcpy(to, x, std::size_t(n) * sizeof(float));
  return 1;
}

/// The rows of one plane of an open block, `stride` bytes apart.
struct open_rows {
  const std::int8_t* first;
  std::ptrdiff_t stride;
};

/// Requantises 64 open rows to one scale and puts them where `turn` turns them to. A NaN scale stays.
template <class Turn>
void seal(const open_rows& open, float* scale, std::int32_t head_dim, Turn turn) {
  float top = 0;
  for (std::int32_t j = 0; j < block_tokens; ++j) top = scale[j] > top || scale[j] != scale[j] ? scale[j] : top;
  auto* rows = scratch<std::int8_t>(slot::values, std::int64_t(block_tokens) * head_dim);
  const std::byte* list[block_tokens];
  for (std::int32_t j = 0; j < block_tokens; ++j) {
    const auto ratio = all(top > 0 ? scale[j] / top : 0.0f);
    auto* to = rows + std::ptrdiff_t(j) * head_dim;
    list[j] = reinterpret_cast<const std::byte*>(to);
    for (std::int32_t d = 0; d < head_dim; d += 16)
      store_i8(to + d, nearest(mul(to_f32(load_i8(open.first + j * open.stride + d)), ratio)));
    scale[j] = top;
  }
  turn(list);
}

/// n bytes, a multiple of 16; a call of memcpy takes longer than the few that a row has.
QUADRANT_WORD void copy_row(std::byte* to, const std::byte* from, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + 64 <= n; i += 64)
    store(reinterpret_cast<std::int32_t*>(to + i), load(reinterpret_cast<const std::int32_t*>(from + i)));
  for (; i < n; i += 16) __builtin_memcpy(to + i, from + i, 16);
}

/// Rows of the open block that earlier steps wrote.
void take_earlier(const kv_append_args& a, const sequence_rows& seq, std::int32_t head) {
  const auto& l = a.layout;
  const auto k_bytes = std::int64_t(l.k_row_bytes()), v_bytes = std::int64_t(l.v_row_bytes());
  const auto* slice = slice_at(a.pool, l, seq.blocks[seq.first_position / block_tokens], a.layer, head);
  const auto rows = std::int64_t(seq.first_position % block_tokens);
  for (std::int64_t j = 0; j < rows; ++j) {
    const auto at = (std::int64_t(seq.own_row) + j) * l.num_kv_heads + head;
    copy_row(static_cast<std::byte*>(a.own.k) + at * k_bytes, slice + l.k_offset() + j * k_bytes, k_bytes);
    copy_row(static_cast<std::byte*>(a.own.v) + at * v_bytes, slice + l.v_offset() + j * v_bytes, v_bytes);
    if (l.type() != dtype::i8) continue;
    a.own.k_scale[at] = reinterpret_cast<const float*>(slice + l.k_scale_offset())[j];
    a.own.v_scale[at] = reinterpret_cast<const float*>(slice + l.v_scale_offset())[j];
  }
}

/// New rows of one KV head of one sequence.
void append(const kv_append_args& a, const sequence_rows& seq, std::int32_t head) {
  const auto& l = a.layout;
  const auto k_bytes = std::int64_t(l.k_row_bytes()), v_bytes = std::int64_t(l.v_row_bytes());
  const auto block_start = seq.first_position / block_tokens * block_tokens;
  if (seq.holds(seq.first_position)) take_earlier(a, seq, head);
  for (auto position = seq.first_position; position < seq.first_position + seq.num_rows; ++position) {
    if (!seq.holds(position)) continue;
    auto* slice = slice_at(a.pool, l, seq.blocks[position / block_tokens], a.layer, head);
    auto *k_scales = reinterpret_cast<float*>(slice + l.k_scale_offset()),
         *v_scales = reinterpret_cast<float*>(slice + l.v_scale_offset());
    const auto at = (std::int64_t(seq.own_row) + position - block_start) * l.num_kv_heads + head,
               in_block = std::int64_t(position % block_tokens);
    auto *own_k = static_cast<std::byte*>(a.own.k) + at * k_bytes,
         *own_v = static_cast<std::byte*>(a.own.v) + at * v_bytes;
    auto *pool_k = slice + l.k_offset() + in_block * k_bytes, *pool_v = slice + l.v_offset() + in_block * v_bytes;
    const auto row = std::int64_t(seq.first_row) + position - seq.first_position;
    const auto *k = a.k + row * a.k_stride + std::int64_t(head) * l.key_dim(),
               *v = a.v + row * a.v_stride + std::int64_t(head) * l.value_dim();
    const float k_scale = store_row(k, l.key_dim(), l.type(), own_k),
                v_scale = store_row(v, l.value_dim(), l.type(), own_v);
    copy_row(pool_k, own_k, k_bytes);
    copy_row(pool_v, own_v, v_bytes);
    if (l.type() != dtype::i8) continue;
    a.own.k_scale[at] = k_scales[in_block] = k_scale;
    a.own.v_scale[at] = v_scales[in_block] = v_scale;
    if (in_block == block_tokens - 1) {
      const auto k_stride = k_bytes * l.num_kv_heads, v_stride = v_bytes * l.num_kv_heads;
      constexpr auto before = block_tokens - 1;
      seal({reinterpret_cast<const std::int8_t*>(own_k) - before * k_stride, k_stride}, k_scales, l.key_dim(),
           [&](const std::byte* const* rows) {
             turn_to_panels(rows, block_tokens, l.key_dim() / 4, slice + l.k_offset());
           });
      seal({reinterpret_cast<const std::int8_t*>(own_v) - before * v_stride, v_stride}, v_scales, l.value_dim(),
           [&](const std::byte* const* rows) { turn_values(rows, block_tokens, l.value_dim(), slice + l.v_offset()); });
    }
  }
}

void kv_append(team& t, const kv_append_args& a) {
  const auto heads = a.layout.num_kv_heads;
  if (!a.layout.has_whole_panels()) return reference::kv_append(t, a);
  std::int64_t rows = 0; // those of the open blocks are copied, and come from memory
  for (std::int32_t i = 0; i < a.num_sequences; ++i)
    rows += a.sequences[i].num_rows + a.sequences[i].first_position % block_tokens;
  const auto items = std::int64_t(a.num_sequences) * heads;
  t.parallel(
      items,
      grain_for(rows * (a.layout.key_dim() + a.layout.value_dim()) / std::max(1, a.num_sequences), worth_a_thread / 2),
      [&](std::int64_t begin, std::int64_t end) {
        for (auto item = begin; item < end; ++item) append(a, a.sequences[item / heads], std::int32_t(item % heads));
      });
}

} // namespace
} // namespace quadrant::gpu::simd
