// gpu/cpu/simd/linear_tile.inl: a few rows times a few panels of one weight, from the first product to the stored output.
//
//   tile = R rows x P panels             its R * P integer sums stay in registers along a run of k; the float sums too, or
//                                        in L1 where there are too few registers
//   stream = up to 8 rows x 1 panel      where weights are all that counts: they are read once, in the order they lie in
// Bound   streams: 0.88 to 0.95 of DRAM in long runs. One stream of a whole model reads 0.91 of it at 47 GB/s and 0.76 to
//         0.85 at 82: a core alone draws half, and some 12 us a layer are one core's work; each range and each pass begins
//         cold. Tried: gpu/cpu/README.md
// Source  gpu/cpu/reference/linear.cpp (rules 3 and 6)

namespace quadrant::gpu::simd {
namespace {

/// A run of k over which no scale changes.
struct scale_run {
  std::int32_t first, end, weight_group, x_group;
};

/// What the tiles of one op share.
struct linear_job {
  const act_view* x;
  std::int32_t in;
  std::int32_t first_panel, num_out; ///< outputs [16 * first_panel, + num_out)
  bool to_bf16 = false;              ///< outputs are bf16 words
  std::int32_t num_runs = 0;         ///< i8
  const scale_run* runs = nullptr;
};

/// One activation row and where its outputs go.
struct linear_row {
  const std::byte* x; ///< i8, padded to 8; or f32
  const float* scale;
  const std::int32_t* correction; ///< [run * stride]: takes off what the offset of the weights adds; next rows follow
  std::int32_t stride;
  void* y; ///< of output 16 * first_panel
};

/// Values of `in` that the packed integers can be walked with: borders of runs at multiples of 8.
bool int_tiles_fit(const act_view& x, const packed_weight& w) {
  const auto fits = [&](std::int32_t group) { return group == 0 || group >= w.in || group % 8 == 0; };
  return fits(w.group) && fits(x.scale_group);
}

std::int32_t find_runs(const act_view& x, const packed_weight& w, const scale_run** runs) {
  const auto x_group = x.scale_group == 0 ? w.in : x.scale_group;
  auto* list = scratch<scale_run>(slot::runs, w.in / w.group + w.in / x_group + 2);
  std::int32_t n = 0;
  for (std::int32_t first = 0, end = 0; first < w.in; first = end) {
    const auto wg = first / w.group, xg = first / x_group;
    end = std::min({w.in, (wg + 1) * w.group, (xg + 1) * x_group});
    list[n++] = {first, end, wg, xg};
  }
  *runs = list;
  return n;
}

QUADRANT_WORD void finish(f32x16 y, const packed_weight& w, std::int32_t p, const linear_job& job,
                          const linear_row& row) {
  const auto at = std::ptrdiff_t(p) * panel;
  const auto some = std::min(panel, job.num_out - p * panel);
  if (w.bias.size() != 0) y = add(y, load(w.bias.as<float>() + std::ptrdiff_t(job.first_panel) * panel + at));
  if (job.to_bf16)
    store_u16(static_cast<std::uint16_t*>(row.y) + at, to_bf16(y), some);
  else
    store(static_cast<float*>(row.y) + at, y, some);
}

/// The float sums of a tile: in registers where they fit beside the integer ones, otherwise in L1.
template <int R, int P>
struct float_sums {
  f32x16 held[sums_fit_registers ? R : 1][P];
  alignas(64) float room[sums_fit_registers ? 1 : R * P * panel];

  QUADRANT_WORD f32x16 get(int r, int p) const {
    if constexpr (sums_fit_registers)
      return held[r][p];
    else
      return load(room + (r * P + p) * panel);
  }
  QUADRANT_WORD void set(int r, int p, f32x16 sum) {
    if constexpr (sums_fit_registers)
      held[r][p] = sum;
    else
      store(room + (r * P + p) * panel, sum);
  }
  QUADRANT_WORD void settle() {
    if constexpr (!sums_fit_registers) in_memory(room);
  }
};

/// finish() of a tile whose sums are y(r, p). Where all outputs are there and have no bias, nothing is asked about each.
/// These sums hold no NaN but the quiet one that scales have (rules 4, 6), which rounding to bf16 leaves a NaN.
template <int R, int P, class Sums>
QUADRANT_WORD void finish_tile(const packed_weight& w, std::int32_t p0, const linear_job& job, const linear_row* rows,
                               Sums y) {
  const bool plain = w.bias.size() == 0 && job.num_out >= (p0 + P) * panel;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const auto at = std::ptrdiff_t(p0 + p) * panel;
      if (plain && job.to_bf16) {
        const auto u = as_i32(y(r, p));
        const auto rounded = add(u, add(all(0x7fff), both(right<16>(u), all(1))));
        store_u16(static_cast<std::uint16_t*>(rows[r].y) + at, right<16>(rounded), 16);
      } else if (plain) {
        store(static_cast<float*>(rows[r].y) + at, y(r, p));
      } else {
        finish(y(r, p), w, p0 + p, job, rows[r]);
      }
    }
}

template <class Weights, int R, int P, bool grouped>
[[gnu::noinline]] void int_tile(const linear_job& job, const packed_weight& w, const linear_row* rows,
                                std::int32_t p0) {
  const auto panel_bytes = w.panel_bytes();
  const auto* data = w.data.data() + std::size_t(job.first_panel + p0) * panel_bytes;
  const auto* w_scale = w.panel_scales(job.first_panel + p0);
  const auto scale_words = std::ptrdiff_t(w.groups()) * panel;
  const std::byte* x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) x[r] = rows[r].x;
  const auto* correction = rows[0].correction;
  const auto stride = rows[0].stride;
  float_sums<R, P> y;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) y.set(r, p, all(0.0f));
  for (std::int32_t g = 0; g < job.num_runs; ++g) {
    const auto run = job.runs[g];
    i32x16 acc[R][P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto offset = all(correction[r]);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) acc[r][p] = offset;
    }
    correction += stride;
    dot_tile<Weights>(data, panel_bytes, x, run.first / 8, (run.end + 7) / 8, acc);
    y.settle();
    f32x16 scale[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) scale[p] = load(w_scale + p * scale_words + run.weight_group * panel);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto x_scale = all(grouped ? rows[r].scale[run.x_group] : 0.0f);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        auto part = to_f32(acc[r][p]);
        if (grouped) part = mul(part, x_scale);
        y.set(r, p, fma(part, scale[p], y.get(r, p)));
      }
    }
    y.settle();
  }
  finish_tile<R, P>(
      w, p0, job, rows, [&](int r, int p) __attribute__((always_inline)) {
        return grouped ? y.get(r, p) : mul(y.get(r, p), all(rows[r].scale[0]));
      });
}

/// Panels of some weight that a thread will want next, or none.
struct next_panels {
  const packed_weight* weight = nullptr;
  std::int32_t panel = 0;

  explicit operator bool() const { return weight != nullptr; }
  [[nodiscard]] const std::byte* data() const {
    return weight->data.data() + std::size_t(panel) * weight->panel_bytes();
  }
  [[nodiscard]] const float* scales() const { return weight->panel_scales(panel); }
};

/// Panels [p0, p0 + panels) one after the other: one stream of weights, and one of scales. Both go on in `next`
/// (the weights from run to run: where one is longer than `stream_ahead`, later).
template <class Weights, int R>
[[gnu::noinline]] void int_stream(const linear_job& job, const packed_weight& w, const linear_row* rows,
                                  std::int32_t p0, std::int32_t panels, const next_panels& next) {
  const bool grouped = job.x->scale_group != 0;
  const auto* weights = w.data.data() + std::size_t(job.first_panel + p0) * w.panel_bytes();
  const auto* w_scale = w.panel_scales(job.first_panel + p0);
  const auto scale_words = std::ptrdiff_t(w.groups()) * panel;
  const auto *end = weights + std::size_t(panels) * w.panel_bytes(), *next_data = next ? next.data() : nullptr;
  for (auto p = p0; p < p0 + panels; ++p, weights += w.panel_bytes(), w_scale += scale_words) {
    const auto* next_scale = p + 1 < p0 + panels ? w_scale + scale_words : next ? next.scales() : w_scale;
    f32x16 y[R];
    for (auto& sum : y) sum = all(0.0f);
    for (std::int32_t g = 0; g < job.num_runs; ++g) {
      const auto run = job.runs[g];
      const auto* from = weights + std::size_t(run.first / 8) * Weights::bytes_per_8k;
      const auto steps = (run.end - run.first + 7) / 8;
      constexpr int chains = R <= 4 && !halves_together ? 2 : 1; // of even and of odd words: integers have no order
      i32x16 acc[R][chains];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        acc[r][0] = all(rows[0].correction[g * rows[0].stride + r]);
        if (chains > 1) acc[r][chains - 1] = all(std::int32_t{0});
      }
      const auto left = end - from;
      const auto* ahead = left > stream_ahead ? from + stream_ahead : next ? next_data + (stream_ahead - left) : from;
      fetch_early(next_scale + run.weight_group * panel);
      for (int step = 0; step < steps; ++step, from += Weights::bytes_per_8k, ahead += Weights::bytes_per_8k) {
        for (std::size_t line = 0; line < Weights::bytes_per_8k; line += 64) fetch_early(ahead + line);
        const auto even = Weights::at(from, 0), odd = Weights::at(from, 1);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const auto* x = rows[r].x + run.first + std::ptrdiff_t(step) * 8;
          if constexpr (halves_together) {
            Weights::dot_both(acc[r][0], even, odd, all_quads(x), all_quads(x + 4));
          } else {
            Weights::dot(acc[r][0], even, all_quads(x));
            Weights::dot(acc[r][chains - 1], odd, all_quads(x + 4));
          }
        }
      }
      const auto scale = load(w_scale + run.weight_group * panel);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        auto part = to_f32(chains > 1 ? add(acc[r][0], acc[r][chains - 1]) : acc[r][0]);
        if (grouped) part = mul(part, all(rows[r].scale[run.x_group]));
        y[r] = fma(part, scale, y[r]);
      }
    }
    for (int r = 0; r < R; ++r) finish(grouped ? y[r] : mul(y[r], all(rows[r].scale[0])), w, p, job, rows[r]);
  }
}

template <bool IsBf16, int R, int P>
[[gnu::noinline]] void float_tile(const linear_job& job, const packed_weight& w, const linear_row* rows,
                                  std::int32_t p0) {
  const float* x[R];
  for (int r = 0; r < R; ++r) x[r] = reinterpret_cast<const float*>(rows[r].x);
  const auto first_word = std::size_t(job.first_panel + p0) * std::size_t(w.in) * panel,
             panel_words = std::size_t(w.in) * panel;
  f32x16 y[R][P];
  fma_tile(
      x, w.in,
      [&](int p, std::int32_t k) {
        const auto at = first_word + std::size_t(p) * panel_words + std::size_t(k) * panel;
        if constexpr (IsBf16)
          return from_bf16(load_u16(w.data.as<std::uint16_t>() + at));
        else
          return load(w.data.as<float>() + at);
      },
      y);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) finish(y[r][p], w, p0 + p, job, rows[r]);
}

template <int R, int P>
void int_tile_of(const linear_job& job, const packed_weight& w, const linear_row* rows, std::int32_t p0) {
  const bool grouped = job.x->scale_group != 0;
  if (w.type == dtype::i8)
    grouped ? int_tile<i8_weights, R, P, true>(job, w, rows, p0) : int_tile<i8_weights, R, P, false>(job, w, rows, p0);
  else
    grouped ? int_tile<i4_weights, R, P, true>(job, w, rows, p0) : int_tile<i4_weights, R, P, false>(job, w, rows, p0);
}

} // namespace
} // namespace quadrant::gpu::simd
