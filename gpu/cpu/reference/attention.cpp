// KV append with sealing, attention over tiles and segments, merge: rules 7 and 8.
#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {
namespace {

constexpr float minus_inf = -std::numeric_limits<float>::infinity();

/// One (block, layer, head) slice of the pool.
struct slice_view {
  std::byte *k, *v;
  float *k_scale, *v_scale;
};
slice_view slice_at(std::byte* pool, const kv_layout& l, std::int32_t block, std::int32_t layer, std::int32_t head) {
  auto* s = pool + l.slice_offset(block, layer, head);
  return {s + l.k_offset(), s + l.v_offset(), reinterpret_cast<float*>(s + l.k_scale_offset()),
          reinterpret_cast<float*>(s + l.v_scale_offset())};
}

/// Stores one row of a plane in the plane's type; returns its scale (i8).
float store_row(const float* x, std::int32_t n, dtype type, std::byte* to) {
  switch (type) {
  case dtype::i8: return quantise_run(x, n, reinterpret_cast<std::int8_t*>(to));
  case dtype::bf16:
    for (std::int32_t d = 0; d < n; ++d) reinterpret_cast<std::uint16_t*>(to)[d] = to_bf16(x[d]);
    return 1;
  default: std::memcpy(to, x, std::size_t(n) * sizeof(float)); return 1;
  }
}

/// Requantises the 64 open rows of a plane to one scale, and puts element (j, d) where `place` says. A NaN scale stays.
template <class Place>
void seal(std::byte* rows, float* scale, std::int32_t head_dim, Place place) {
  float top = 0;
  for (std::int32_t j = 0; j < block_tokens; ++j) top = scale[j] > top || scale[j] != scale[j] ? scale[j] : top;
  auto* q = reinterpret_cast<std::int8_t*>(rows);
  const std::vector<std::int8_t> open(q, q + std::ptrdiff_t(block_tokens) * head_dim);
  for (std::int32_t j = 0; j < block_tokens; ++j) {
    const float ratio = top > 0 ? scale[j] / top : 0.0f;
    for (std::int32_t d = 0; d < head_dim; ++d)
      q[place(j, d)] = std::int8_t(std::nearbyintf(float(open[std::size_t(j * head_dim + d)]) * ratio));
    scale[j] = top;
  }
}

/// The running softmax of one query: what it was before any tile.
struct state {
  float m = minus_inf, l = 0;
};

/// How much of what was there, and of the new tile, stays.
struct factors {
  float a, b;
};
factors fold(state& s, const state& tile) {
  const float m = tile.m > s.m ? tile.m : s.m;
  const factors f{exp_f32(s.m - m), exp_f32(tile.m - m)};
  s = {m, std::fma(tile.l, f.b, s.l * f.a)};
  return f;
}
void fold(state& s, float* o, const state& part, const float* part_o, std::int32_t head_dim) {
  const auto f = fold(s, part);
  for (std::int32_t d = 0; d < head_dim; ++d) o[d] = std::fma(part_o[d], f.b, o[d] * f.a);
}

/// One tile: a sealed block in the pool, or the open block among the own rows.
struct tile_rows {
  const std::byte *k, *v;
  const float *k_scale, *v_scale;
  std::int64_t k_stride, v_stride, scale_stride; ///< of positions; bytes, bytes, floats
  std::int32_t count;
  bool open, turned;
};

float element(const std::byte* row, dtype type, std::int32_t d) {
  return type == dtype::bf16 ? from_bf16(reinterpret_cast<const std::uint16_t*>(row)[d])
                             : reinterpret_cast<const float*>(row)[d];
}

void float_tile(const float* q, const tile_rows& rows, const kv_layout& l, state& running, float* o) {
  const auto type = l.type();
  float s[block_tokens];
  state tile;
  bool nan = false;
  for (std::int32_t j = 0; j < rows.count; ++j) {
    float dot = 0;
    for (std::int32_t d = 0; d < l.key_dim(); ++d)
      dot = std::fma(q[d], element(rows.k + j * rows.k_stride, type, d), dot);
    s[j] = dot;
    nan = nan || dot != dot;
    tile.m = dot > tile.m ? dot : tile.m;
  }
  tile.m = tile.m + 0.0f; // never -0, so that a maximum has no order
  for (std::int32_t j = 0; j < rows.count; ++j) s[j] = exp_f32(s[j] - tile.m);
  tile.l = nan ? nan_f32 : sum_16_lanes(rows.count, [&](float lane, std::int64_t j) { return lane + s[j]; });
  std::vector<float> tile_o(std::size_t(l.value_dim()), 0.0f);
  for (std::int32_t j = 0; j < rows.count; ++j)
    for (std::int32_t d = 0; d < l.value_dim(); ++d)
      tile_o[std::size_t(d)] = std::fma(s[j], element(rows.v + j * rows.v_stride, type, d), tile_o[std::size_t(d)]);
  fold(running, o, tile, tile_o.data(), l.value_dim());
}

std::int32_t to_u8(float x) { return std::int32_t(std::nearbyintf(x)); }

constexpr float log2_e = 1.44269504f, most_scale = 0x1p100f, least_scale = 0x1p-100f;

/// Open rows have V scales of their own: they join the weights p. Returns the unit of the weights.
float fold_v_scales(const tile_rows& rows, const float* p, std::int32_t* weight) {
  float a[block_tokens], top = 0;
  bool sound = true;
  for (std::int32_t j = 0; j < rows.count; ++j) {
    a[j] = p[j] * rows.v_scale[j * rows.scale_stride];
    sound = sound && a[j] < most_scale;
    top = a[j] > top ? a[j] : top;
  }
  const float unit = !sound ? nan_f32 : top < least_scale ? 0.0f : top / 255.0f;
  const float up = 255.0f / top;
  for (std::int32_t j = 0; j < rows.count; ++j) weight[j] = unit > 0 ? to_u8(a[j] * up) : 0;
  return unit;
}

void int_tile(const std::int8_t* q, float q_scale, const tile_rows& rows, const kv_layout& l, state& running,
              float* o) {
  const auto key = [&](std::int32_t j, std::int32_t d) {
    return int(reinterpret_cast<const std::int8_t*>(
        rows.k)[rows.turned ? std::int64_t(l.sealed_k(j, d)) : j * rows.k_stride + d]);
  };
  const auto value = [&](std::int32_t j, std::int32_t d) {
    return int(reinterpret_cast<const std::int8_t*>(
        rows.v)[rows.turned ? std::int64_t(l.sealed_v(j, d)) : j * rows.v_stride + d]);
  };
  std::int32_t dot[block_tokens], weight[block_tokens], most = INT32_MIN, sum = 0;
  float p[block_tokens];
  for (std::int32_t j = 0; j < rows.count; ++j) {
    dot[j] = 0;
    for (std::int32_t d = 0; d < l.key_dim(); ++d) dot[j] += int(q[d]) * key(j, d);
    most = std::max(most, dot[j]);
  }
  state tile;
  bool sound = true;
  float s[block_tokens], unit = rows.v_scale[0];
  for (std::int32_t j = 0; j < rows.count; ++j) {
    const float scale = q_scale * rows.k_scale[rows.open ? j * rows.scale_stride : 0];
    sound = sound && scale < most_scale;
    s[j] = float(dot[j]) * scale;
    p[j] = float(dot[j] - most) * (scale * log2_e); // sealed
    if (rows.open)
      tile.m = s[j] > tile.m ? s[j] : tile.m;
    else
      tile.m = float(most) * scale;
  }
  if (sound) {
    tile.m = tile.m + 0.0f;
    for (std::int32_t j = 0; j < rows.count; ++j) {
      p[j] = exp2_255(rows.open ? (s[j] - tile.m) * log2_e : p[j]);
      weight[j] = to_u8(p[j]);
      sum += weight[j];
    }
    tile.l = float(sum);
    if (rows.open) unit = fold_v_scales(rows, p, weight);
  } else {
    tile = {minus_inf, nan_f32};
    std::fill_n(weight, rows.count, 0);
    if (rows.open) unit = 0;
  }
  const auto f = fold(running, tile);
  const float new_unit = unit * f.b;
  for (std::int32_t d = 0; d < l.value_dim(); ++d) {
    std::int32_t acc = 0;
    for (std::int32_t j = 0; j < rows.count; ++j) acc += weight[j] * value(j, d);
    o[d] = std::fma(float(acc), new_unit, o[d] * f.a);
  }
}

/// One query over tiles [first, end) of one segment.
void attend_segment(const attend_args& a, const sequence_rows& seq, std::int64_t row, std::int32_t head,
                    std::int32_t segment, state& s, float* o) {
  const auto& l = a.layout;
  const auto position = seq.first_position + std::int32_t(row - seq.first_row);
  const auto kv_head = head / (a.num_q_heads / l.num_kv_heads);
  const auto own_block = position / block_tokens, own_first = seq.first_position / block_tokens;
  const auto end = std::min(own_block + 1, (segment + 1) * (segment_tokens / block_tokens));
  std::fill_n(o, l.value_dim(), 0.0f);
  for (auto block = segment * (segment_tokens / block_tokens); block < end; ++block) {
    tile_rows rows{};
    if (block == own_block) {
      const auto at =
          (std::int64_t(seq.own_row) + std::int64_t(own_block - own_first) * block_tokens) * l.num_kv_heads + kv_head;
      rows = {.k = static_cast<const std::byte*>(a.own.k) + at * std::int64_t(l.k_row_bytes()),
              .v = static_cast<const std::byte*>(a.own.v) + at * std::int64_t(l.v_row_bytes()),
              .k_scale = a.own.k_scale + at,
              .v_scale = a.own.v_scale + at,
              .k_stride = std::int64_t(l.k_row_bytes()) * l.num_kv_heads,
              .v_stride = std::int64_t(l.v_row_bytes()) * l.num_kv_heads,
              .scale_stride = l.num_kv_heads,
              .count = position % block_tokens + 1,
              .open = true,
              .turned = false};
    } else {
      const auto slice = slice_at(const_cast<std::byte*>(a.pool), l, seq.blocks[block], a.layer, kv_head);
      rows = {.k = slice.k,
              .v = slice.v,
              .k_scale = slice.k_scale,
              .v_scale = slice.v_scale,
              .k_stride = std::int64_t(l.k_row_bytes()),
              .v_stride = std::int64_t(l.v_row_bytes()),
              .scale_stride = 1,
              .count = block_tokens,
              .open = false,
              .turned = l.turns_sealed()};
    }
    const auto at = row * a.num_q_heads + head;
    if (l.type() == dtype::i8)
      int_tile(a.q.q + at * l.key_dim(), a.q.scale[at], rows, l, s, o);
    else
      float_tile(a.q.f + at * l.key_dim(), rows, l, s, o);
  }
}

} // namespace

void kv_append(team& t, const kv_append_args& a) {
  const auto& l = a.layout;
  const auto k_bytes = std::int64_t(l.k_row_bytes()), v_bytes = std::int64_t(l.v_row_bytes());
  t.parallel(std::int64_t(a.num_sequences) * l.num_kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto item = begin; item < end; ++item) {
      const auto& seq = a.sequences[item / l.num_kv_heads];
      const auto head = std::int32_t(item % l.num_kv_heads);
      const auto block_start = seq.first_position / block_tokens * block_tokens;
      const auto own_at = [&](std::int32_t position) {
        return (std::int64_t(seq.own_row) + position - block_start) * l.num_kv_heads + head;
      };
      for (auto position = block_start; position < seq.first_position + seq.num_rows; ++position) {
        if (!seq.holds(position)) continue;
        const auto slice = slice_at(a.pool, l, seq.blocks[position / block_tokens], a.layer, head);
        const auto at = own_at(position), in_block = std::int64_t(position % block_tokens);
        auto *own_k = static_cast<std::byte*>(a.own.k) + at * k_bytes,
             *own_v = static_cast<std::byte*>(a.own.v) + at * v_bytes;
        auto *pool_k = slice.k + in_block * k_bytes, *pool_v = slice.v + in_block * v_bytes;
        if (position < seq.first_position) { // written by an earlier step
          std::memcpy(own_k, pool_k, std::size_t(k_bytes));
          std::memcpy(own_v, pool_v, std::size_t(v_bytes));
          if (l.type() == dtype::i8)
            a.own.k_scale[at] = slice.k_scale[in_block], a.own.v_scale[at] = slice.v_scale[in_block];
          continue;
        }
        const auto row = std::int64_t(seq.first_row) + position - seq.first_position;
        const float k_scale =
            store_row(a.k + row * a.k_stride + std::int64_t(head) * l.key_dim(), l.key_dim(), l.type(), own_k);
        const float v_scale =
            store_row(a.v + row * a.v_stride + std::int64_t(head) * l.value_dim(), l.value_dim(), l.type(), own_v);
        std::memcpy(pool_k, own_k, std::size_t(k_bytes));
        std::memcpy(pool_v, own_v, std::size_t(v_bytes));
        if (l.type() != dtype::i8) continue;
        a.own.k_scale[at] = slice.k_scale[in_block] = k_scale;
        a.own.v_scale[at] = slice.v_scale[in_block] = v_scale;
        if (in_block == block_tokens - 1) {
          const bool turned = l.turns_sealed();
          seal(slice.k, slice.k_scale, l.key_dim(), [&](std::int32_t j, std::int32_t d) {
            return turned ? l.sealed_k(j, d) : std::size_t(j * l.key_dim() + d);
          });
          seal(slice.v, slice.v_scale, l.value_dim(), [&](std::int32_t j, std::int32_t d) {
            return turned ? l.sealed_v(j, d) : std::size_t(j * l.value_dim() + d);
          });
        }
      }
    }
  });
}

void attend(team& t, const attend_args& a) {
  const auto head_dim = a.layout.value_dim();
  std::int64_t rows = 0;
  for (std::int32_t i = 0; i < a.num_sequences; ++i)
    rows = std::max<std::int64_t>(rows, a.sequences[i].first_row + a.sequences[i].num_rows);
  t.parallel(rows * a.num_q_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> segment_o(static_cast<std::size_t>(head_dim));
    std::int32_t which = 0;
    for (auto item = begin; item < end; ++item) {
      const auto row = item / a.num_q_heads;
      const auto head = std::int32_t(item % a.num_q_heads);
      while (row >= a.sequences[which].first_row + a.sequences[which].num_rows) ++which;
      const auto& seq = a.sequences[which];
      const auto position = seq.first_position + std::int32_t(row - seq.first_row);
      const auto last = std::min(seq.end_segment, position / segment_tokens + 1);
      for (auto segment = seq.first_segment; segment < last; ++segment) {
        const std::int64_t part = a.parts[row] + (seq.first_segment == 0 ? 0 : segment - seq.first_segment);
        const auto at = part * a.num_q_heads + head;
        float* o = a.o + at * head_dim;
        state s;
        if (seq.first_segment > 0 || segment == 0) {
          attend_segment(a, seq, row, head, segment, s, o);
        } else {
          attend_segment(a, seq, row, head, segment, s, segment_o.data());
          state sofar{a.m[at], a.l[at]};
          fold(sofar, o, s, segment_o.data(), head_dim);
          s = sofar;
        }
        a.m[at] = s.m;
        a.l[at] = s.l;
      }
    }
  });
}

void merge(team& t, const merge_args& a) {
  t.parallel(std::int64_t(a.tokens) * a.heads, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> o(std::size_t(a.head_dim));
    for (auto item = begin; item < end; ++item) {
      const auto row = item / a.heads, head = item % a.heads;
      state s;
      std::ranges::fill(o, 0.0f);
      const auto take = [&](const float* m, const float* l, const float* part_o, std::int64_t at) {
        const auto* from = part_o + at * a.head_dim;
        if (s.m == minus_inf && s.l == 0)
          s = {m[at], l[at]}, std::copy_n(from, a.head_dim, o.data());
        else if (m[at] != minus_inf || l[at] != 0)
          fold(s, o.data(), {m[at], l[at]}, from, a.head_dim);
      };
      if (a.before.m != nullptr) take(a.before.m, a.before.l, a.before.o, item);
      for (auto part = a.parts[row]; part < a.parts[row + 1]; ++part) take(a.m, a.l, a.o, part * a.heads + head);
      if (a.y == nullptr) {
        a.after.m[item] = s.m, a.after.l[item] = s.l;
        std::ranges::copy(o, a.after.o + item * a.head_dim);
      } else {
        for (std::int32_t d = 0; d < a.head_dim; ++d) a.y[item * a.head_dim + d] = o[std::size_t(d)] / s.l;
      }
    }
  });
}

} // namespace quadrant::gpu::reference
