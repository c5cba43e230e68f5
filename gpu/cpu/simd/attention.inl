// gpu/cpu/simd/attention.inl: attend, merge: rule 8.
//
//   item   (chunk, KV head). A chunk is rows of one sequence whose positions lie in one block, so that all of them
//          see the same blocks sealed and the same one open; its queries are rows x the heads that share the KV head
//   tile   its K is turned to panels of 16 positions, its V to panels of 16 of D, once for all queries of the item;
//          then q.K and P.V are the integer tiles of linear.inl
// Source  gpu/cpu/reference/attention.cpp

namespace quadrant::gpu::simd {
namespace {

constexpr std::int32_t queries_per_chunk = 60; ///< enough that turning K and V costs little
constexpr int tile_words = block_tokens / 16;

struct chunk {
  std::int32_t sequence, first_row, num_rows;
};

/// A running softmax.
struct running {
  float m, l;
};

/// How a tile or segment joins what is there: o = fma(new, b, o * a), or the new one itself where there is nothing yet.
struct folding {
  bool fresh;
  float a, b;
};

/// Folds `tile` into `s`.
folding fold(running& s, const running& tile) {
  const float m = tile.m > s.m ? tile.m : s.m;
  float factor[16];
  store(factor, exp_f32(pick(first(1), all(s.m - m), all(tile.m - m))));
  s = {m, __builtin_fmaf(tile.l, factor[1], s.l * factor[0])};
  return {false, factor[0], factor[1]};
}
folding fold_or_begin(running& s, const running& tile) {
  if (!(s.m == -inf_f32 && s.l == 0)) return fold(s, tile);
  s = tile;
  return {true, 0, 0};
}
QUADRANT_WORD void join(float* o, f32x16 x, const folding& f, int some = 16) {
  store(o, f.fresh ? x : fma(x, all(f.b), mul(load(o, some), all(f.a))), some);
}

/// One query of an item, and its running softmax within the segment.
struct query {
  const std::byte* q; ///< i8 or f32 [D]
  float scale;
  std::int32_t correction; ///< what the offset of K added to each product
  std::int32_t position;
  std::int64_t at; ///< row * heads + head
  running sum;
  float* o; ///< [D]
};

/// One item's work: its queries over its segments.
struct attend_item {
  const attend_args& a;
  const sequence_rows& seq;
  std::int32_t kv_head;
  query* queries;
  std::int32_t num_queries;
  kv_tile tile;

  [[nodiscard]] std::int32_t head_dim() const { return a.layout.head_dim(); }

  [[nodiscard]] std::int32_t count_for(const query& q) const {
    return tile.open ? q.position % block_tokens + 1 : block_tokens;
  }

  /// What a tile says of one query before its values are summed.
  struct scores {
    running sum;
    float unit;                        ///< i8: of the weights
    float p[block_tokens];             ///< f32
    std::uint8_t weight[block_tokens]; ///< i8
  };

  static void softmax_tile(const query& q, const kv_tile& tile, std::int32_t count, const i32x16 (&dot)[tile_words],
                           scores& out) {
    f32x16 s[tile_words], p[tile_words];
    auto top = all(-inf_f32);
    bool nan = false;
    for (int w = 0; w < tile_words; ++w) {
      const auto valid = first(count - 16 * w);
      s[w] = mul(to_f32(sub(dot[w], all(q.correction))), mul(all(q.scale), load(tile.k_scale + 16 * w)));
      nan = nan || any(both(is_nan(s[w]), valid));
      top = higher(pick(valid, s[w], all(-inf_f32)), top);
    }
    out.sum.m = fold_max(top) + 0.0f;
    auto sum = all(std::int32_t{0});
    auto most = all(0.0f);
    bool nan_weight = false;
    i32x16 weight[tile_words];
    for (int w = 0; w < tile_words; ++w) {
      const auto valid = first(count - 16 * w);
      p[w] = pick(valid, exp_f32(sub(s[w], all(out.sum.m))), all(0.0f));
      weight[w] = to_u8(mul(p[w], all(255.0f)));
      sum = add(sum, weight[w]);
      if (!tile.open) continue;
      p[w] = pick(valid, mul(p[w], load(tile.v_scale + 16 * w)), all(0.0f));
      nan_weight = nan_weight || any(is_nan(p[w]));
      most = higher(p[w], most);
    }
    out.sum.l = nan ? nan_f32 : float(fold_sum(sum));
    out.unit = tile.v_scale[0];
    if (tile.open) {
      out.unit = nan_weight ? nan_f32 : fold_max(most);
      for (int w = 0; w < tile_words; ++w)
        weight[w] = out.unit > 0 ? to_u8(mul(div(p[w], all(out.unit)), all(255.0f))) : all(std::int32_t{0});
    }
    for (int w = 0; w < tile_words; ++w) store_u8(out.weight + 16 * w, weight[w]);
  }
  QUADRANT_WORD static i32x16 to_u8(f32x16 x) {
    return nearest(pick(at_most(all(0.0f), x), x, all(0.0f)));
  } // NaN gives 0

  static void softmax_tile(std::int32_t count, const f32x16 (&dot)[tile_words], scores& out) {
    auto top = all(-inf_f32), sum = all(0.0f);
    bool nan = false;
    for (int w = 0; w < tile_words; ++w) {
      const auto valid = first(count - 16 * w);
      nan = nan || any(both(is_nan(dot[w]), valid));
      top = higher(pick(valid, dot[w], all(-inf_f32)), top);
    }
    out.sum.m = fold_max(top) + 0.0f;
    for (int w = 0; w < tile_words; ++w) {
      const auto p = pick(first(count - 16 * w), exp_f32(sub(dot[w], all(out.sum.m))), all(0.0f));
      sum = add(sum, p);
      store(out.p + 16 * w, p);
    }
    out.sum.l = nan ? nan_f32 : fold_sum(sum);
  }

  /// R queries from q0 on over the tile.
  template <int R>
  void int_queries(std::int32_t q0) {
    const auto panel_bytes = std::size_t(head_dim()) * 16;
    const std::byte* x[R];
    for (int r = 0; r < R; ++r) x[r] = queries[q0 + r].q;
    i32x16 dot[R][tile_words];
    by_panels<R>(tile_words, [&](std::int32_t p, auto num_panels) {
      i32x16 acc[R][num_panels()];
      for (auto& row : acc)
        for (auto& v : row) v = all(std::int32_t{0});
      dot_tile<i8_weights>(tile.k + std::size_t(p) * panel_bytes, panel_bytes, x, head_dim() / 8, acc);
      for (int r = 0; r < R; ++r)
        for (int i = 0; i < num_panels(); ++i) dot[r][p + i] = acc[r][i];
    });
    scores s[R];
    folding f[R];
    std::int32_t most = 0;
    for (int r = 0; r < R; ++r) {
      auto& q = queries[q0 + r];
      const auto count = count_for(q);
      most = std::max(most, count);
      softmax_tile(q, tile, count, dot[r], s[r]);
      f[r] = fold_or_begin(q.sum, s[r].sum);
      x[r] = reinterpret_cast<const std::byte*>(s[r].weight);
    }
    by_panels<R>(head_dim() / 16, [&](std::int32_t p, auto num_panels) {
      i32x16 acc[R][num_panels()];
      for (auto& row : acc)
        for (auto& v : row) v = all(std::int32_t{0});
      constexpr std::size_t value_panel = block_tokens * 16;
      dot_tile<values_i8>(tile.v + std::size_t(p) * value_panel, value_panel, x, (most + 7) / 8, acc);
      for (int r = 0; r < R; ++r)
        for (int i = 0; i < num_panels(); ++i)
          join(queries[q0 + r].o + (p + i) * 16, mul(to_f32(acc[r][i]), all(s[r].unit)), f[r]);
    });
  }

  template <int R>
  void float_queries(std::int32_t q0) {
    const float* x[R];
    for (int r = 0; r < R; ++r) x[r] = reinterpret_cast<const float*>(queries[q0 + r].q);
    const auto* k = reinterpret_cast<const float*>(tile.k);
    const auto* v = reinterpret_cast<const float*>(tile.v);
    f32x16 dot[R][tile_words];
    by_panels<R>(tile_words, [&](std::int32_t p, auto num_panels) {
      f32x16 acc[R][num_panels()];
      fma_tile(
          x, head_dim(), [&](int i, std::int32_t d) { return load(k + (std::ptrdiff_t(p + i) * head_dim() + d) * 16); },
          acc);
      for (int r = 0; r < R; ++r)
        for (int i = 0; i < num_panels(); ++i) dot[r][p + i] = acc[r][i];
    });
    for (int r = 0; r < R; ++r) {
      auto& q = queries[q0 + r];
      const auto count = count_for(q);
      scores s;
      softmax_tile(count, dot[r], s);
      const auto f = fold_or_begin(q.sum, s.sum);
      const float* weights[1] = {s.p};
      by_panels<1>(head_dim() / 16, [&](std::int32_t p, auto num_panels) {
        f32x16 acc[1][num_panels()];
        fma_tile(
            weights, count,
            [&](int i, std::int32_t j) { return load(v + std::ptrdiff_t(j) * head_dim() + (p + i) * 16); }, acc);
        for (int i = 0; i < num_panels(); ++i) join(q.o + (p + i) * 16, acc[0][i], f);
      });
    }
  }

  /// All queries over the blocks of one segment.
  void segment(std::int32_t number) {
    constexpr auto blocks = segment_tokens / block_tokens;
    const auto own = queries[0].position / block_tokens;
    for (std::int32_t i = 0; i < num_queries; ++i) queries[i].sum = {-inf_f32, 0};
    for (auto block = number * blocks; block < std::min(own + 1, (number + 1) * blocks); ++block) {
      tile.load(a, seq, kv_head, block, block == own);
      by_tiles(num_queries, [&](std::int32_t q0, auto num_rows) {
        if (a.layout.type() == dtype::i8)
          int_queries<num_rows()>(q0);
        else
          float_queries<num_rows()>(q0);
      });
    }
  }

  /// Puts the segment's result where it belongs: into a part of its own, or folded into part 0.
  void leave(std::int32_t number) {
    for (std::int32_t i = 0; i < num_queries; ++i) {
      const auto& q = queries[i];
      const auto part = q.at * a.num_parts + (a.first_segment == 0 ? 0 : number - a.first_segment);
      running sofar{a.m[part], a.l[part]};
      folding f{true, 0, 0};
      if (a.first_segment > 0 || number == 0)
        sofar = q.sum;
      else
        f = fold(sofar, q.sum);
      a.m[part] = sofar.m, a.l[part] = sofar.l;
      for (std::int32_t d = 0; d < head_dim(); d += 16) join(a.o + part * head_dim() + d, load(q.o + d), f);
    }
  }
};

/// Sets up the queries of a chunk and one KV head, and the parts that they leave empty.
void attend_chunk(const attend_args& a, const chunk& c, std::int32_t kv_head) {
  const auto& l = a.layout;
  const auto& seq = a.sequences[c.sequence];
  const auto shared = a.num_q_heads / l.num_kv_heads; // query heads of a KV head
  const auto n = c.num_rows * shared;
  auto* queries = scratch<query>(slot::states, n);
  auto* o = scratch<float>(slot::outputs, std::int64_t(n) * l.head_dim());
  for (std::int32_t i = 0; i < n; ++i) {
    const auto row = c.first_row + i / shared;
    auto& q = queries[i];
    q.at = std::int64_t(row) * a.num_q_heads + kv_head * shared + i % shared;
    q.position = seq.first_position + row - seq.first_row;
    q.o = o + std::ptrdiff_t(i) * l.head_dim();
    if (l.type() == dtype::i8) {
      const auto* ints = a.q.q + q.at * l.head_dim();
      q.q = reinterpret_cast<const std::byte*>(ints);
      q.scale = a.q.scale[q.at];
      q.correction = i8_weights::offset == 0 ? 0 : i8_weights::offset * sum_bytes(ints, l.head_dim());
    } else {
      q.q = reinterpret_cast<const std::byte*>(a.q.f + q.at * l.head_dim());
    }
    for (auto part = q.at * a.num_parts; part < (q.at + 1) * a.num_parts; ++part) {
      a.m[part] = -inf_f32, a.l[part] = 0;
      __builtin_memset(a.o + part * l.head_dim(), 0, std::size_t(l.head_dim()) * sizeof(float));
    }
  }
  attend_item item{a, seq, kv_head, queries, n, {}};
  const auto last = std::min(a.last_segment, queries[0].position / segment_tokens + 1);
  for (auto number = a.first_segment; number < last; ++number) {
    item.segment(number);
    item.leave(number);
  }
}

void attend(team& t, const attend_args& a) {
  if (a.layout.head_dim() % 16 != 0) return reference::attend(t, a);
  const auto heads = a.layout.num_kv_heads;
  const auto rows_each = std::max(1, queries_per_chunk / (a.num_q_heads / heads));
  std::int64_t most = 0, rows = 0, reach = 1;
  for (std::int32_t i = 0; i < a.num_sequences; ++i) {
    const auto& seq = a.sequences[i];
    most += seq.num_rows / std::min(rows_each, block_tokens) + 2 + seq.num_rows / block_tokens;
    rows += seq.num_rows;
    reach = std::max<std::int64_t>(reach, seq.first_position + seq.num_rows);
  }
  auto* chunks = scratch<chunk>(slot::blocks, most);
  std::int64_t num_chunks = 0;
  for (std::int32_t i = 0; i < a.num_sequences; ++i) {
    const auto& seq = a.sequences[i];
    for (std::int32_t r = 0, n = 0; r < seq.num_rows; r += n) {
      n = std::min({rows_each, seq.num_rows - r, block_tokens - (seq.first_position + r) % block_tokens});
      chunks[num_chunks++] = {i, seq.first_row + r, n};
    }
  }
  const auto macs =
      2 * rows * a.num_q_heads * a.layout.head_dim() * reach / std::max<std::int64_t>(1, num_chunks * heads);
  t.parallel(num_chunks * heads, grain_for(macs, macs_worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto item = begin; item < end; ++item) attend_chunk(a, chunks[item / heads], std::int32_t(item % heads));
  });
}

void merge(team& t, const merge_args& a) {
  t.parallel(std::int64_t(a.tokens) * a.heads, grain_for(std::int64_t(a.num_parts) * a.head_dim, worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               auto* o = scratch<float>(slot::row, a.head_dim);
               for (auto item = begin; item < end; ++item) {
                 const auto at = item * a.num_parts;
                 running s{a.m[at], a.l[at]};
                 __builtin_memcpy(o, a.o + at * a.head_dim, std::size_t(a.head_dim) * sizeof(float));
                 for (auto part = at + 1; part < at + a.num_parts; ++part) {
                   if (a.m[part] == -inf_f32 && a.l[part] == 0) continue; // past the row's position
                   const auto f = fold(s, {a.m[part], a.l[part]});
                   by_16(a.head_dim, [&](std::int64_t d, int some) {
                     join(o + d, load(a.o + part * a.head_dim + d, some), f, some);
                   });
                 }
                 by_16(a.head_dim, [&](std::int64_t d, int some) {
                   store(a.y + item * a.head_dim + d, div(load(o + d, some), all(s.l)), some);
                 });
               }
             });
}

} // namespace
} // namespace quadrant::gpu::simd
