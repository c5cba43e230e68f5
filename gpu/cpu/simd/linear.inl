// gpu/cpu/simd/linear.inl: linears as register tiles of a few rows x a few panels of 16 outputs.
//
//   item = up to 132 rows x 4 panels     the panels' weights come from memory once, and from L1 for every further tile;
//                                        the next item's weights are fetched meanwhile
//   tile = R rows x P panels             its R * P integer sums stay in registers along a run of k; the float sums too, or
//                                        in L1 where there are too few registers
//   stream = up to 8 rows x 1 panel      where weights are all that counts: they are read once, in the order they lie in
// Source  gpu/cpu/reference/linear.cpp (rules 3 and 6)

namespace quadrant::gpu::simd {
namespace {

constexpr std::int32_t most_rows_per_item = 132, panels_per_item = 4; ///< whole tiles of 6 and of 4

// A range worth another thread, some 10 us: where rows are many by their products, where they are few by the weights.
constexpr std::int64_t macs_worth_a_thread = 1 << 21, weights_worth_a_thread = 1 << 18;

/// Items that a range takes at least, of items that are `rows` x `weights`.
std::int64_t linear_grain(std::int64_t rows, std::int64_t weights) {
  return std::min(grain_for(rows * weights, macs_worth_a_thread), grain_for(weights, weights_worth_a_thread));
}

/// Rows of an item: parts of one size, and more of them where there would be too few items for the team.
std::int32_t rows_per_item(const team& t, std::int64_t rows, std::int64_t across) {
  std::int64_t each = 12;
  for (const std::int64_t n : {most_rows_per_item, 60, 24})
    if (across * ((rows + n - 1) / n) >= 4 * t.num_threads()) {
      each = n;
      break;
    }
  const auto parts = (rows + each - 1) / each;
  return std::int32_t(std::max<std::int64_t>(1, (rows + parts - 1) / std::max<std::int64_t>(1, parts)));
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

/// Panels [p0, p0 + panels) one after the other: one stream of weights, and one of scales.
template <class Weights, int R>
[[gnu::noinline]] void int_stream(const linear_job& job, const packed_weight& w, const linear_row* rows,
                                  std::int32_t p0, std::int32_t panels) {
  const bool grouped = job.x->scale_group != 0;
  const auto* weights = w.data.data() + std::size_t(job.first_panel + p0) * w.panel_bytes();
  const auto* w_scale = w.panel_scales(job.first_panel + p0);
  const auto scale_words = std::ptrdiff_t(w.groups()) * panel;
  for (auto p = p0; p < p0 + panels; ++p, weights += w.panel_bytes(), w_scale += scale_words) {
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
      for (int step = 0; step < steps; ++step, from += Weights::bytes_per_8k) {
        for (std::size_t line = 0; line < Weights::bytes_per_8k; line += 64) fetch_early(from + stream_ahead + line);
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

/// Rows [0, n) x panels [p0, p0 + panels) of one weight. `next`: the weights that this thread will want after these, as
/// many bytes; or null.
void run_item(const linear_job& job, const packed_weight& w, const linear_row* rows, std::int32_t n, std::int32_t p0,
              std::int32_t panels, const std::byte* next) {
  const bool ints = w.type == dtype::i8 || w.type == dtype::i4;
  if (ints && n <= most_rows_streamed)
    return by_rest<most_rows_streamed>(0, n, [&](std::int32_t, auto num_rows) {
      w.type == dtype::i8 ? int_stream<i8_weights, num_rows()>(job, w, rows, p0, panels)
                          : int_stream<i4_weights, num_rows()>(job, w, rows, p0, panels);
    });
  const auto bytes = std::size_t(panels) * w.panel_bytes(), share = bytes / std::size_t(n) + 1;
  by_tiles(n, [&](std::int32_t r, auto num_rows) {
    for (auto at = share * std::size_t(r); next != nullptr && at < std::min(bytes, share * std::size_t(r + num_rows()));
         at += 64)
      fetch_to_l2(next + at);
    constexpr int R = num_rows();
    if (ints) {
      std::int32_t p = 0;
      for (; p + linear_panels <= panels; p += linear_panels) int_tile_of<R, linear_panels>(job, w, rows + r, p0 + p);
      for (; p < panels; ++p) int_tile_of<R, 1>(job, w, rows + r, p0 + p);
      return;
    }
    by_panels<R>(panels, [&](std::int32_t p, auto num_panels) {
      constexpr int P = num_panels();
      switch (w.type) {
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
      rows[r] = {reinterpret_cast<const std::byte*>(job.x->f + x_row(r) * in), nullptr, nullptr, 0, output(r)};
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
    for (std::int32_t g = 0; g < job.num_runs; ++g)
      correction[std::int64_t(g) * n + r] =
          offset == 0 ? 0 : -offset * sum_bytes(q + job.runs[g].first, job.runs[g].end - job.runs[g].first);
    rows[r] = {reinterpret_cast<const std::byte*>(q), job.x->scale + x_row(r) * scales, correction + r, n, output(r)};
  }
}

void linear(team& t, const linear_args& a) {
  const auto& w = *a.weight;
  if (a.x.q != nullptr && !int_tiles_fit(a.x, w)) return reference::linear(t, a);
  linear_job job{.x = &a.x, .in = w.in, .first_panel = a.first_out / panel, .num_out = a.num_out};
  if (a.x.q != nullptr) job.num_runs = find_runs(a.x, w, &job.runs);
  const auto panels = (a.num_out + panel - 1) / panel;
  const auto across = (panels + panels_per_item - 1) / panels_per_item, rows_each = rows_per_item(t, a.rows, across);
  const auto down = (a.rows + rows_each - 1) / rows_each;
  const auto weights = std::int64_t(std::min(panels, panels_per_item)) * panel * w.in;
  t.parallel(std::int64_t(across) * down, linear_grain(std::min(a.rows, rows_each), weights),
             [&](std::int64_t begin, std::int64_t end) {
               linear_row rows[most_rows_per_item];
               std::int64_t ready = -1;
               for (auto item = begin; item < end; ++item) {
                 const auto part = item / across; // its rows stay while the weights pass
                 const auto first = std::int32_t(part) * rows_each, n = std::min(rows_each, a.rows - first);
                 if (ready != part)
                   ready_rows(
                       job, w, n, rows, [&](std::int32_t r) { return std::int64_t(first) + r; },
                       [&](std::int32_t r) { return a.y + (std::int64_t(first) + r) * a.y_stride; });
                 ready = part;
                 const auto p0 = std::int32_t(item % across) * panels_per_item;
                 const auto* next =
                     w.data.data() + std::size_t(job.first_panel + p0 + panels_per_item) * w.panel_bytes();
                 run_item(job, w, rows, n, p0, std::min(panels_per_item, panels - p0),
                          p0 + 2 * panels_per_item <= panels ? next : nullptr);
               }
             });
}

/// Some rows of one expert.
struct expert_rows {
  std::int32_t expert, first, num_rows;
};

/// Rows sorted by expert, in parts of at most rows_each. Returns how many; the list is in the caller's scratch.
std::int64_t part_rows(const std::int32_t* offsets, std::int32_t num_experts, std::int32_t rows_each,
                       const expert_rows** list) {
  auto* parts = scratch<expert_rows>(slot::blocks, num_experts + offsets[num_experts] / rows_each + 1);
  std::int64_t n = 0;
  for (std::int32_t e = 0; e < num_experts; ++e) {
    const auto rows = offsets[e + 1] - offsets[e], pieces = (rows + rows_each - 1) / rows_each;
    for (std::int32_t i = 0, first = offsets[e]; i < pieces; ++i) { // of one size, but for one row
      const auto size = (offsets[e + 1] - first + pieces - i - 1) / (pieces - i);
      parts[n++] = {e, first, size};
      first += size;
    }
  }
  *list = parts;
  return n;
}

void grouped_linear(team& t, const grouped_linear_args& a) {
  const auto total = a.num_experts == 0 ? 0 : a.offsets[a.num_experts];
  if (total == 0) return;
  const auto& shape = *a.weight[0];
  if (a.x.q != nullptr && !int_tiles_fit(a.x, shape)) return reference::grouped_linear(t, a);
  linear_job job{.x = &a.x, .in = shape.in, .first_panel = 0, .num_out = shape.out, .to_bf16 = a.y_type == dtype::bf16};
  if (a.x.q != nullptr) job.num_runs = find_runs(a.x, shape, &job.runs);
  const auto panels = shape.out_padded() / panel;
  const auto across = (panels + panels_per_item - 1) / panels_per_item;
  const expert_rows* parts = nullptr;
  const auto num_parts = part_rows(a.offsets, a.num_experts, rows_per_item(t, total, across), &parts);
  const auto grain = linear_grain(total / num_parts, std::int64_t(shape.in) * panel * panels / across);
  const auto row_bytes = std::int64_t(shape.out) * std::int64_t(bits(a.y_type) / 8);
  t.parallel(num_parts * across, grain, [&](std::int64_t begin, std::int64_t end) {
    linear_row rows[most_rows_per_item];
    std::int64_t ready = -1;
    for (auto item = begin; item < end; ++item) {
      const auto& part = parts[item / across];
      const auto& w = *a.weight[part.expert];
      if (ready != item / across)
        ready_rows(
            job, w, part.num_rows, rows,
            [&](std::int32_t r) { return std::int64_t(a.x_row == nullptr ? part.first + r : a.x_row[part.first + r]); },
            [&](std::int32_t r) { return static_cast<std::byte*>(a.y) + (std::int64_t(part.first) + r) * row_bytes; });
      ready = item / across;
      const auto p0 = std::int32_t(item % across) * panels_per_item;
      const std::byte* next = nullptr;
      if (p0 + 2 * panels_per_item <= panels)
        next = w.data.data() + std::size_t(p0 + panels_per_item) * w.panel_bytes();
      else if (item + 1 < end && panels >= panels_per_item)
        next = a.weight[parts[(item + 1) / across].expert]->data.data();
      run_item(job, w, rows, part.num_rows, p0, std::min(panels_per_item, panels - p0), next);
    }
  });
}

} // namespace
} // namespace quadrant::gpu::simd
