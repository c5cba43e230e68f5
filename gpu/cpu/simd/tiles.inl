// gpu/cpu/simd/tiles.inl: register tiles of a few rows x a few panels: what linears and attention are made of.

namespace quadrant::gpu::simd {
namespace {

/// fn(first, R), R a constant, for `rows` rows in 1 .. R.
template <int R = tile_rows, class Fn>
QUADRANT_WORD void by_rest(std::int32_t first, std::int32_t rows, Fn fn) {
  if constexpr (R > 0) {
    if (rows == R) return fn(first, std::integral_constant<int, R>{});
    by_rest<R - 1>(first, rows, fn);
  }
}

/// fn(first, R) with R a constant, over rows [0, rows): as few tiles as can be, of about one size. A tile of two rows
/// costs as much as one of four.
template <class Fn>
QUADRANT_WORD void by_tiles(std::int32_t rows, Fn fn) {
  const auto tiles = (rows + tile_rows - 1) / tile_rows;
  for (std::int32_t t = 0, r = 0; t < tiles; ++t) {
    const auto n = (rows - r + tiles - t - 1) / (tiles - t);
    by_rest(r, n, fn);
    r += n;
  }
}

/// fn(p, P) over panels, P a constant that suits R rows.
template <int R, class Fn>
QUADRANT_WORD void by_panels(std::int32_t panels, Fn fn) {
  constexpr int wide = tile_panels(R);
  std::int32_t p = 0;
  for (; p + wide <= panels; p += wide) fn(p, std::integral_constant<int, wide>{});
  for (; p < panels; ++p) fn(p, std::integral_constant<int, 1>{});
}

/// acc[r][p] += sum over k in [8 * first, 8 * end) of x[r][k] * w[p][k]; w at the first of P panels, panel_bytes apart.
template <class Weights, int R, int P>
QUADRANT_WORD void dot_tile(const std::byte* w, std::size_t panel_bytes, const std::byte* const* x, int first_step,
                            int end_step, i32x16 (&acc)[R][P]) {
  // Two calls and not a loop of two: GCC 12 keeps the sums in registers only if the loops over them are innermost.
  const auto half_step = [&](int step, int half) __attribute__((always_inline)) {
    typename Weights::word word[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      word[p] = Weights::at(w + std::size_t(p) * panel_bytes + std::size_t(step) * Weights::bytes_per_8k, half);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto four = all_quads(x[r] + step * 8 + half * 4);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) Weights::dot(acc[r][p], word[p], four);
    }
  };
  for (int step = first_step; step < end_step; ++step) {
    if constexpr (halves_together) {
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        const auto* at = w + std::size_t(p) * panel_bytes + std::size_t(step) * Weights::bytes_per_8k;
        const auto even = Weights::at(at, 0), odd = Weights::at(at, 1);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
          Weights::dot_both(acc[r][p], even, odd, all_quads(x[r] + step * 8), all_quads(x[r] + step * 8 + 4));
      }
    } else {
      half_step(step, 0);
      half_step(step, 1);
    }
  }
}

/// One panel after the other of what lies in one piece: finished(p, sums) with R sums over k in [0, 8 * steps) each.
/// With each 128 bytes, `Ahead` lines are fetched at `ahead`, which moves on. Memory is read in order, so that the
/// processor's own prefetching works: several panels at once were read from DRAM at two thirds of this rate.
template <class Weights, int R, int Ahead, class Finished>
QUADRANT_WORD void dot_stream(const std::byte* w, std::size_t panel_bytes, std::int32_t panels,
                              const std::byte* const* x, int steps, const std::byte*& ahead, Finished finished) {
  constexpr int chains = 2 * R <= most_rows_streamed ? 2 : 1; // of even and of odd words: integers have no order
  for (std::int32_t p = 0; p < panels; ++p) {
    const auto* from = w + std::size_t(p) * panel_bytes;
    i32x16 acc[R][chains];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (auto& sum : acc[r]) sum = all(std::int32_t{0});
    for (int step = 0; step < steps; ++step, from += Weights::bytes_per_8k) {
      for (int i = 0; i < Ahead; ++i, ahead += 64) fetch_early(ahead);
      const auto even = Weights::at(from, 0), odd = Weights::at(from, 1);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        Weights::dot(acc[r][0], even, all_quads(x[r] + step * 8));
        Weights::dot(acc[r][chains - 1], odd, all_quads(x[r] + step * 8 + 4));
      }
    }
    i32x16 sums[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[r] = chains > 1 ? add(acc[r][0], acc[r][chains - 1]) : acc[r][0];
    finished(p, sums);
  }
}

/// acc[r][p] = one fma chain over k in [0, n) of x[r][k] * w[p][k][lane]; weight_at gives the 16 floats of panel p at
/// k.
template <int R, int P, class WeightAt>
QUADRANT_WORD void fma_tile(const float* const* x, std::int32_t n, WeightAt weight_at, f32x16 (&acc)[R][P]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) acc[r][p] = all(0.0f);
  for (std::int32_t k = 0; k < n; ++k) {
    f32x16 word[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) word[p] = weight_at(p, k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto one = all(x[r][k]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) acc[r][p] = fma(one, word[p], acc[r][p]);
    }
  }
}

} // namespace
} // namespace quadrant::gpu::simd
