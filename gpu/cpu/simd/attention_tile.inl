// gpu/cpu/simd/attention_tile.inl: R queries over one tile of 64 positions: scores, weights, values, and the fold into
// what earlier tiles of the segment left (rule 8).
// Bound   many queries (prefill, several sequences on one KV): 0.54 of the int8 peak. A query and tile are 128 cycles of
//         products and some 100 of softmax and joining, and each waits for the other. So eight sequences on one KV take
//         0.35 to 0.64 of eight single runs, which are at the DRAM rate: least where DRAM is slow, most where KV is cached.
//         Tried: the phases of 12 to 48 queries one after the other instead of six: 0.48; fetching the next tile by hand:
//         0.46; the next tile to L2 instead of L1: no difference
// Source  gpu/cpu/reference/attention.cpp

namespace quadrant::gpu::simd {
namespace {

constexpr int tile_words = block_tokens / 16;
constexpr float log2_e = 1.44269504f, most_scale = 0x1p100f, least_scale = 0x1p-100f;

/// Widths of a query and key, and of a value and output.
struct head_dims {
  std::int32_t key, value;
};

/// Queries that share a KV head, and what they are within the segment. Arrays have room for 16 more than are used.
struct query_set {
  const std::byte** q;      ///< i8 or f32 [D]
  float* scale;             ///< i8
  std::int32_t* correction; ///< i8: what the offset of K adds to each product
  std::int32_t* position;
  std::int64_t* at; ///< row * heads + head
  float *m, *l;     ///< the running softmax
  float** o;        ///< [D] each
};

/// A tile's own softmax of R queries, and how it joins what was there.
struct tile_softmax {
  alignas(64) float m[16], l[16];   ///< of the tile
  alignas(64) float unit[16];       ///< i8: of the weights
  alignas(64) float old[16], b[16]; ///< factors of what was there, and of the tile (times unit)
};

/// Folds the tile into queries [q0, q0 + R).
template <int R>
QUADRANT_WORD void fold_tile(const query_set& s, std::int32_t q0, tile_softmax& t) {
  const auto m = load(s.m + q0), tile_m = load(t.m), top = higher(tile_m, m);
  const auto a = exp_f32(sub(m, top)), b = exp_f32(sub(tile_m, top));
  store(s.l + q0, fma(load(t.l), b, mul(load(s.l + q0), a)), R);
  store(s.m + q0, top, R);
  store(t.old, a);
  store(t.b, mul(b, load(t.unit)));
}

/// What becomes of a query whose scales are unsound: its sum is NaN, its weights are 0.
QUADRANT_WORD void unsound_weights(std::uint8_t* weight, float& m, float& l) {
  __builtin_memset(weight, 0, block_tokens);
  m = -inf_f32, l = nan_f32;
}

/// Scores of one query in a sealed block: one scale, so the maximum is one of integers.
QUADRANT_WORD void sealed_weights(const std::int32_t* dot, std::int32_t correction, float scale, std::uint8_t* weight,
                                  float& m, float& l) {
  if (!(scale < most_scale)) return unsound_weights(weight, m, l);
  i32x16 d[tile_words];
#pragma GCC unroll 4
  for (int w = 0; w < tile_words; ++w) d[w] = load(dot + 16 * w);
  const auto most = fold_max(higher(higher(d[0], d[1]), higher(d[2], d[3])));
  const auto c = all(scale * log2_e);
#pragma GCC unroll 4
  for (int w = 0; w < tile_words; ++w) d[w] = nearest(exp2_255(mul(to_f32(sub(d[w], all(most))), c)));
  m = float(most - correction) * scale + 0.0f;
  l = float(store_weights(weight, d));
}

/// Scores of one query in its own block, up to `count` positions: each has scales of its own, V's go into the weights.
void open_weights(const std::int32_t* dot, std::int32_t correction, float q_scale, const kv_tile& tile,
                  std::int32_t count, std::uint8_t* weight, float& m, float& l, float& unit) {
  f32x16 s[tile_words], a[tile_words];
  i32x16 p[tile_words];
  auto top = all(-inf_f32);
  bool sound = true;
  for (int w = 0; w < tile_words; ++w) {
    const auto valid = first(count - 16 * w);
    const auto scale = mul(all(q_scale), load(tile.k_scale + 16 * w));
    sound = sound && !any(without(valid, less(scale, all(most_scale))));
    s[w] = mul(to_f32(sub(load(dot + 16 * w), all(correction))), scale);
    top = higher(pick(valid, s[w], all(-inf_f32)), top);
  }
  unit = 0;
  if (!sound) return unsound_weights(weight, m, l);
  m = fold_max(top) + 0.0f;
  auto most = all(0.0f);
  bool sound_v = true;
  for (int w = 0; w < tile_words; ++w) {
    const auto valid = first(count - 16 * w);
    const auto e = pick(valid, exp2_255(mul(sub(s[w], all(m)), all(log2_e))), all(0.0f));
    p[w] = nearest(e);
    a[w] = mul(e, load(tile.v_scale + 16 * w));
    sound_v = sound_v && !any(without(valid, less(a[w], all(most_scale))));
    a[w] = pick(valid, a[w], all(0.0f));
    most = higher(a[w], most);
  }
  l = float(store_weights(weight, p));
  const float largest = fold_max(most);
  unit = !sound_v ? nan_f32 : largest < least_scale ? 0.0f : largest / 255.0f;
  const auto up = all(255.0f / largest);
  for (int w = 0; w < tile_words; ++w) p[w] = unit > 0 ? nearest(mul(a[w], up)) : all(std::int32_t{0});
  store_weights(weight, p);
}

/// Fetches the tile that comes next while this one is computed, evenly: the processor holds few misses at a time, and
/// where they all begin at once memory rests for the remainder.
struct fetch_ahead {
  const std::byte* from = nullptr;
  std::uint32_t lines = 0;         ///< of 64 bytes
  std::uint32_t done = 0, due = 0; ///< due: in 1/65536 of a line

  /// What each of `steps` steps of a third of the work must fetch.
  [[nodiscard]] std::uint32_t third(std::int32_t steps) const { return (lines << 16) / std::uint32_t(3 * steps); }
  QUADRANT_WORD void fetch(std::uint32_t share) {
    for (due += share; done < due >> 16; ++done) fetch_early(from + std::size_t(done) * 64);
  }
};

/// Scores become weights, and the tile joins queries [q0, q0 + R). Returns how many positions any of them sees.
template <int R>
QUADRANT_WORD std::int32_t int_softmax(const query_set& s, std::int32_t q0, const kv_tile& tile,
                                       const std::int32_t (&dot)[R][block_tokens],
                                       std::uint8_t (&weight)[R][block_tokens], tile_softmax& t, fetch_ahead& next) {
  std::int32_t most = block_tokens;
  if (tile.open) {
    most = 0;
    for (int r = 0; r < R; ++r) {
      const auto q = q0 + r, count = s.position[q] % block_tokens + 1;
      most = std::max(most, count);
      open_weights(dot[r], s.correction[q], s.scale[q], tile, count, weight[r], t.m[r], t.l[r], t.unit[r]);
    }
  } else {
    const float k_scale = tile.k_scale[0], v_scale = tile.v_scale[0];
    const auto share = next.third(R);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      sealed_weights(dot[r], s.correction[q0 + r], s.scale[q0 + r] * k_scale, weight[r], t.m[r], t.l[r]);
      t.unit[r] = v_scale;
      next.fetch(share);
    }
  }
  fold_tile<R>(s, q0, t);
  return most;
}

/// What the tile adds to 16 of D of query r.
QUADRANT_WORD void join_values(float* o, i32x16 sum, const tile_softmax& t, int r, bool fresh) {
  const auto before = fresh ? all(0.0f) : mul(load(o), all(t.old[r]));
  store(o, fma(to_f32(sum), all(t.b[r]), before));
}

/// Queries [q0, q0 + R) over an int8 tile. fresh: nothing of the segment came before. next: what to fetch meanwhile.
template <int R>
void int_queries(const query_set& s, std::int32_t q0, const kv_tile& tile, const head_dims& dim, bool fresh,
                 fetch_ahead next) {
  const auto panel_bytes = std::size_t(dim.key) * 16;
  alignas(64) std::int32_t dot[R][block_tokens];
  alignas(64) std::uint8_t weight[R][block_tokens];
  const std::byte* x[R];
  for (int r = 0; r < R; ++r) x[r] = s.q[q0 + r];
  next.fetch(next.third(1));
  by_panels<R>(tile_words, [&](std::int32_t p, auto num_panels) {
    constexpr int P = num_panels();
    i32x16 acc[R][P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) acc[r][i] = all(std::int32_t{0});
    dot_tile<i8_weights>(tile.k + std::size_t(p) * panel_bytes, panel_bytes, x, 0, dim.key / 8, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) store(&dot[r][(p + i) * 16], acc[r][i]);
  });
  in_memory(&dot[0][0]);
  tile_softmax t{};
  const auto most = int_softmax<R>(s, q0, tile, dot, weight, t, next);
  in_memory(&weight[0][0]);
  for (int r = 0; r < R; ++r) x[r] = reinterpret_cast<const std::byte*>(weight[r]);
  next.fetch(next.third(1));
  by_panels<R>(dim.value / 16, [&](std::int32_t p, auto num_panels) {
    constexpr int P = num_panels();
    constexpr std::size_t value_panel = block_tokens * 16;
    i32x16 acc[R][P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) acc[r][i] = all(std::int32_t{0});
    dot_tile<values_i8>(tile.v + std::size_t(p) * value_panel, value_panel, x, 0, (most + 7) / 8, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) join_values(s.o[q0 + r] + (p + i) * 16, acc[r][i], t, r, fresh);
  });
}

/// The same for a sealed tile where few queries wait for memory: K and V are read in the order they lie in. The lines of
/// the next tile are fetched evenly over the time that this one takes: a core has few misses under way, and where they
/// all begin at once memory rests for the remainder. Values take twice as long as keys, softmax a quarter of all.
template <int R>
void int_queries_streamed(const query_set& s, std::int32_t q0, const kv_tile& tile, const head_dims& dim, bool fresh,
                          const std::byte* next) {
  alignas(64) std::int32_t dot[R][block_tokens];
  alignas(64) std::uint8_t weight[R][block_tokens];
  const std::byte* x[R];
  for (int r = 0; r < R; ++r) x[r] = s.q[q0 + r];
  dot_stream<i8_weights, R, 1>(tile.k, std::size_t(dim.key) * 16, tile_words, x, dim.key / 8, next,
                               [&](std::int32_t p, const i32x16(&sums)[R]) {
#pragma GCC unroll 8
                                 for (int r = 0; r < R; ++r) store(&dot[r][p * 16], sums[r]);
                               });
  in_memory(&dot[0][0]);
  tile_softmax t{};
  // Two planes of as many lines as they are wide, and up to the first scale of V; half as many steps a plane.
  constexpr std::uint32_t scale_lines = 5;
  const auto lines = std::uint32_t(dim.key) / 2 + scale_lines;
  fetch_ahead rest{.from = next, .lines = 3 * lines}; // a third is what softmax fetches
  int_softmax<R>(s, q0, tile, dot, weight, t, rest);
  next += std::size_t(lines) * 64;
  in_memory(&weight[0][0]);
  for (int r = 0; r < R; ++r) x[r] = reinterpret_cast<const std::byte*>(weight[r]);
  dot_stream<values_i8, R, 2>(tile.v, std::size_t(block_tokens) * 16, dim.value / 16, x, block_tokens / 8, next,
                              [&](std::int32_t p, const i32x16(&sums)[R]) {
#pragma GCC unroll 8
                                for (int r = 0; r < R; ++r) join_values(s.o[q0 + r] + p * 16, sums[r], t, r, fresh);
                              });
}

/// The same in floats.
template <int R>
void float_queries(const query_set& s, std::int32_t q0, const kv_tile& tile, const head_dims& dim, bool fresh) {
  const float* x[R];
  for (int r = 0; r < R; ++r) x[r] = reinterpret_cast<const float*>(s.q[q0 + r]);
  const auto* k = reinterpret_cast<const float*>(tile.k);
  const auto* v = reinterpret_cast<const float*>(tile.v);
  f32x16 dot[R][tile_words];
  by_panels<R>(tile_words, [&](std::int32_t p, auto num_panels) {
    f32x16 acc[R][num_panels()];
    fma_tile(
        x, dim.key, [&](int i, std::int32_t d) { return load(k + (std::ptrdiff_t(p + i) * dim.key + d) * 16); }, acc);
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < num_panels(); ++i) dot[r][p + i] = acc[r][i];
  });
  tile_softmax t{};
  alignas(64) float weight[R][block_tokens];
  std::int32_t counts[R];
  for (int r = 0; r < R; ++r) {
    counts[r] = tile.open ? s.position[q0 + r] % block_tokens + 1 : block_tokens;
    auto top = all(-inf_f32), sum = all(0.0f);
    bool nan = false;
    for (int w = 0; w < tile_words; ++w) {
      const auto valid = first(counts[r] - 16 * w);
      nan = nan || any(both(is_nan(dot[r][w]), valid));
      top = higher(pick(valid, dot[r][w], all(-inf_f32)), top);
    }
    t.m[r] = fold_max(top) + 0.0f;
    for (int w = 0; w < tile_words; ++w) {
      const auto p = pick(first(counts[r] - 16 * w), exp_f32(sub(dot[r][w], all(t.m[r]))), all(0.0f));
      sum = add(sum, p);
      store(weight[r] + 16 * w, p);
    }
    t.l[r] = nan ? nan_f32 : fold_sum(sum);
    t.unit[r] = 1;
  }
  fold_tile<R>(s, q0, t);
  for (int r = 0; r < R; ++r) {
    const float* weights[1] = {weight[r]};
    by_panels<1>(dim.value / 16, [&](std::int32_t p, auto num_panels) {
      f32x16 acc[1][num_panels()];
      fma_tile(
          weights, counts[r],
          [&](int i, std::int32_t j) { return load(v + std::ptrdiff_t(j) * dim.value + (p + i) * 16); }, acc);
      for (int i = 0; i < num_panels(); ++i) {
        float* o = s.o[q0 + r] + (p + i) * 16;
        const auto before = fresh ? all(0.0f) : mul(load(o), all(t.old[r]));
        store(o, fma(acc[0][i], all(t.b[r]), before));
      }
    });
  }
}

} // namespace
} // namespace quadrant::gpu::simd
