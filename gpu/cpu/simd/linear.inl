// gpu/cpu/simd/linear.inl: linears as register tiles of a few rows x a few panels of 16 outputs.
//
//   item = up to 60 rows x 4 panels      the panels' weights come from memory once, and from L2 for every further tile
//   tile = R rows x P panels             its R * P sums stay in registers along a run of k
// Source  gpu/cpu/reference/linear.cpp (rules 3 and 6)

namespace quadrant::gpu::simd {
namespace {

constexpr std::int32_t most_rows_per_item = 60, panels_per_item = 4; ///< 60: whole tiles of 6 and of 4
constexpr std::int64_t macs_worth_a_thread = 1 << 21;                ///< some 10 us

/// Fewer rows an item where there would be too few items for the team.
std::int32_t rows_per_item(const team& t, std::int64_t rows, std::int64_t across) {
  for (const std::int32_t n : {most_rows_per_item, 24})
    if (across * ((rows + n - 1) / n) >= 2 * t.num_threads()) return n;
  return 12;
}

/// fn(first, R), R a constant, for the `rows` that are left of a tile: at most R of them.
template <int R = tile_rows - 1, class Fn>
QUADRANT_WORD void by_rest(std::int32_t first, std::int32_t rows, Fn fn) {
  if constexpr (R > 0) {
    if (rows == R) return fn(first, std::integral_constant<int, R>{});
    by_rest<R - 1>(first, rows, fn);
  }
}

/// fn(first, R) with R a constant: whole tiles, then a rest.
template <class Fn>
QUADRANT_WORD void by_tiles(std::int32_t rows, Fn fn) {
  std::int32_t r = 0;
  for (; r + tile_rows <= rows; r += tile_rows) fn(r, std::integral_constant<int, tile_rows>{});
  by_rest(r, rows - r, fn);
}

/// fn(p, P) over panels, P a constant that suits R rows.
template <int R, class Fn>
QUADRANT_WORD void by_panels(std::int32_t panels, Fn fn) {
  constexpr int wide = tile_panels(R);
  std::int32_t p = 0;
  for (; p + wide <= panels; p += wide) fn(p, std::integral_constant<int, wide>{});
  for (; p < panels; ++p) fn(p, std::integral_constant<int, 1>{});
}

/// acc[r][p] += sum over k in [0, 8 * steps) of x[r][k] * w[p][k]; w at the first of P panels, panel_bytes apart.
template <class Weights, int R, int P>
QUADRANT_WORD void dot_tile(const std::byte* w, std::size_t panel_bytes, const std::byte* const* x, int steps,
                            i32x16 (&acc)[R][P]) {
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
  for (int step = 0; step < steps; ++step) {
    half_step(step, 0);
    half_step(step, 1);
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

/// A run of k over which no scale changes.
struct scale_run {
  std::int32_t first, end, weight_group, x_group;
};

/// What the tiles of one op share.
struct linear_job {
  const act_view* x;
  std::int32_t in;
  std::int32_t first_panel, num_out; ///< outputs [16 * first_panel, + num_out)
  std::int32_t num_runs;             ///< i8
  const scale_run* runs;
};

/// One activation row and where its outputs go.
struct linear_row {
  const std::byte* x; ///< i8, padded to 8; or f32
  const float* scale;
  const std::int32_t* correction; ///< of each run: what the offset of the weights added
  float* y;                       ///< of output 16 * first_panel
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
  if (w.bias.size() != 0) y = add(y, load(w.bias.as<float>() + std::ptrdiff_t(job.first_panel + p) * panel));
  store(row.y + std::ptrdiff_t(p) * panel, y, std::min(panel, job.num_out - p * panel));
}

template <class Weights, int R, int P>
[[gnu::noinline]] void int_tile(const linear_job& job, const packed_weight& w, const linear_row* rows,
                                std::int32_t p0) {
  const bool grouped = job.x->scale_group != 0;
  const auto* data = w.data.data() + std::size_t(job.first_panel + p0) * w.panel_bytes();
  const auto* w_scale = w.scale.as<float>() + std::ptrdiff_t(job.first_panel + p0) * panel;
  f32x16 y[R][P];
  for (auto& row : y)
    for (auto& v : row) v = all(0.0f);
  for (std::int32_t g = 0; g < job.num_runs; ++g) {
    const auto run = job.runs[g];
    i32x16 acc[R][P];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) acc[r][p] = all(std::int32_t{0});
    const std::byte* x[R];
    for (int r = 0; r < R; ++r) x[r] = rows[r].x + run.first;
    dot_tile<Weights>(data + std::size_t(run.first / 8) * Weights::bytes_per_8k, w.panel_bytes(), x,
                      (run.end - run.first + 7) / 8, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        auto sum = to_f32(sub(acc[r][p], all(rows[r].correction[g])));
        if (grouped) sum = mul(sum, all(rows[r].scale[run.x_group]));
        y[r][p] = fma(sum, load(w_scale + std::ptrdiff_t(run.weight_group) * w.out_padded() + p * panel), y[r][p]);
      }
  }
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p)
      finish(grouped ? y[r][p] : mul(y[r][p], all(rows[r].scale[0])), w, p0 + p, job, rows[r]);
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

/// Rows [0, n) x panels [p0, p0 + panels) of one weight.
void run_item(const linear_job& job, const packed_weight& w, const linear_row* rows, std::int32_t n, std::int32_t p0,
              std::int32_t panels) {
  by_tiles(n, [&](std::int32_t r, auto num_rows) {
    by_panels<num_rows()>(panels, [&](std::int32_t p, auto num_panels) {
      constexpr int R = num_rows(), P = num_panels();
      switch (w.type) {
      case dtype::i8: return int_tile<i8_weights, R, P>(job, w, rows + r, p0 + p);
      case dtype::i4: return int_tile<i4_weights, R, P>(job, w, rows + r, p0 + p);
      case dtype::bf16: return float_tile<true, R, P>(job, w, rows + r, p0 + p);
      default: return float_tile<false, R, P>(job, w, rows + r, p0 + p);
      }
    });
  });
}

/// Makes rows [0, n) ready: row r reads x row x_row(r) and writes y(r).
template <class RowOf, class OutputOf>
void ready_rows(const linear_job& job, const packed_weight& w, std::int32_t n, linear_row* rows, RowOf x_row,
                OutputOf output) {
  const auto in = std::int64_t(job.in);
  if (job.x->q == nullptr) {
    for (std::int32_t r = 0; r < n; ++r)
      rows[r] = {reinterpret_cast<const std::byte*>(job.x->f + x_row(r) * in), nullptr, nullptr, output(r)};
    return;
  }
  const auto offset = w.type == dtype::i8 ? i8_weights::offset : w.zero;
  const auto scales = job.x->scale_group == 0 ? 1 : job.in / job.x->scale_group;
  const auto padded = std::int64_t(w.in_padded());
  auto* correction = scratch<std::int32_t>(slot::corrections, std::int64_t(n) * job.num_runs);
  auto* copies = in == padded ? nullptr : scratch<std::int8_t>(slot::padded, n * padded);
  for (std::int32_t r = 0; r < n; ++r) {
    const auto* q = job.x->q + x_row(r) * in;
    if (copies != nullptr) {
      __builtin_memcpy(copies + r * padded, q, std::size_t(in));
      __builtin_memset(copies + r * padded + in, 0, std::size_t(padded - in));
      q = copies + r * padded;
    }
    auto* of_row = correction + std::int64_t(r) * job.num_runs;
    for (std::int32_t g = 0; g < job.num_runs; ++g)
      of_row[g] = offset == 0 ? 0 : offset * sum_bytes(q + job.runs[g].first, job.runs[g].end - job.runs[g].first);
    rows[r] = {reinterpret_cast<const std::byte*>(q), job.x->scale + x_row(r) * scales, of_row, output(r)};
  }
}

void linear(team& t, const linear_args& a) {
  const auto& w = *a.weight;
  if (a.x.q != nullptr && !int_tiles_fit(a.x, w)) return reference::linear(t, a);
  linear_job job{
      .x = &a.x, .in = w.in, .first_panel = a.first_out / panel, .num_out = a.num_out, .num_runs = 0, .runs = nullptr};
  if (a.x.q != nullptr) job.num_runs = find_runs(a.x, w, &job.runs);
  const auto panels = (a.num_out + panel - 1) / panel;
  const auto across = (panels + panels_per_item - 1) / panels_per_item, rows_each = rows_per_item(t, a.rows, across);
  const auto down = (a.rows + rows_each - 1) / rows_each;
  const auto macs = std::int64_t(std::min(a.rows, rows_each)) * std::min(panels, panels_per_item) * panel * w.in;
  t.parallel(std::int64_t(across) * down, grain_for(macs, macs_worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               linear_row rows[most_rows_per_item];
               std::int64_t ready = -1;
               for (auto item = begin; item < end; ++item) {
                 const auto first = std::int32_t(item % down) * rows_each, n = std::min(rows_each, a.rows - first);
                 if (ready != item % down)
                   ready_rows(
                       job, w, n, rows, [&](std::int32_t r) { return std::int64_t(first) + r; },
                       [&](std::int32_t r) { return a.y + (std::int64_t(first) + r) * a.y_stride; });
                 ready = item % down;
                 const auto p0 = std::int32_t(item / down) * panels_per_item;
                 run_item(job, w, rows, n, p0, std::min(panels_per_item, panels - p0));
               }
             });
}

/// Some rows of one expert.
struct expert_rows {
  std::int32_t expert, first, num_rows;
};

void grouped_linear(team& t, const grouped_linear_args& a) {
  const auto total = a.num_experts == 0 ? 0 : a.offsets[a.num_experts];
  if (total == 0) return;
  const auto& shape = *a.weight[0];
  if (a.x.q != nullptr && !int_tiles_fit(a.x, shape)) return reference::grouped_linear(t, a);
  linear_job job{.x = &a.x, .in = shape.in, .first_panel = 0, .num_out = shape.out, .num_runs = 0, .runs = nullptr};
  if (a.x.q != nullptr) job.num_runs = find_runs(a.x, shape, &job.runs);
  const auto panels = shape.out_padded() / panel;
  const auto across = (panels + panels_per_item - 1) / panels_per_item, rows_each = rows_per_item(t, total, across);
  auto* parts = scratch<expert_rows>(slot::blocks, a.num_experts + total / rows_each + 1);
  std::int64_t num_parts = 0;
  for (std::int32_t e = 0; e < a.num_experts; ++e)
    for (auto first = a.offsets[e]; first < a.offsets[e + 1]; first += rows_each)
      parts[num_parts++] = {e, first, std::min(rows_each, a.offsets[e + 1] - first)};
  const auto macs = std::int64_t(total) * shape.in * panel * panels / (num_parts * across); // of an average item
  t.parallel(num_parts * across, grain_for(macs, macs_worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    linear_row rows[most_rows_per_item];
    std::int64_t ready = -1;
    for (auto item = begin; item < end; ++item) {
      const auto& part = parts[item / across];
      const auto& w = *a.weight[part.expert];
      if (ready != item / across)
        ready_rows(
            job, w, part.num_rows, rows,
            [&](std::int32_t r) { return std::int64_t(a.x_row == nullptr ? part.first + r : a.x_row[part.first + r]); },
            [&](std::int32_t r) { return a.y + (std::int64_t(part.first) + r) * w.out; });
      ready = item / across;
      const auto p0 = std::int32_t(item % across) * panels_per_item;
      run_item(job, w, rows, part.num_rows, p0, std::min(panels_per_item, panels - p0));
    }
  });
}

} // namespace
} // namespace quadrant::gpu::simd
