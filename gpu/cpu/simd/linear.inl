// gpu/cpu/simd/linear.inl: linears as register tiles of a few rows x a few panels of 16 outputs.
//
//   item = up to 132 rows x 4 panels     the panels' weights come from memory once, and from L1 for every further tile;
//                                        the next item's weights are fetched meanwhile
//   tile, stream                         linear_tile.inl: a few rows of an item x a few of its panels
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

/// Does `rows` of a weight mean that each panel is read once, as a stream?
bool streams(const packed_weight& w, std::int64_t rows) {
  return rows <= most_rows_streamed && (w.type == dtype::i8 || w.type == dtype::i4);
}

/// Items to threads: what streams is dealt, so that a stream is long, and its first bytes can be fetched ahead.
void share_out(team& t, std::int64_t items, std::int64_t grain, bool as_streams, item_range_fn fn) {
  if (as_streams && (items > grain)) return t.parallel_dealt(items, fn);
  t.parallel(items, grain, fn);
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

/// Rows [0, n) x panels [p0, p0 + panels) of one weight. `next`: as many panels that this thread will want after these.
void run_item(const linear_job& job, const packed_weight& w, const linear_row* rows, std::int32_t n, std::int32_t p0,
              std::int32_t panels, const next_panels& next) {
  const bool ints = w.type == dtype::i8 || w.type == dtype::i4;
  if (streams(w, n))
    return by_rest<most_rows_streamed>(0, n, [&](std::int32_t, auto num_rows) {
      w.type == dtype::i8 ? int_stream<i8_weights, num_rows()>(job, w, rows, p0, panels, next)
                          : int_stream<i4_weights, num_rows()>(job, w, rows, p0, panels, next);
    });
  const auto bytes = std::size_t(panels) * w.panel_bytes(), share = bytes / std::size_t(n) + 1;
  const auto* next_data = next ? next.data() : nullptr;
  by_tiles(n, [&](std::int32_t r, auto num_rows) {
    for (auto at = share * std::size_t(r); next && at < std::min(bytes, share * std::size_t(r + num_rows())); at += 64)
      fetch_to_l2(next_data + at);
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
  share_out(t, std::int64_t(across) * down, linear_grain(std::min(a.rows, rows_each), weights), streams(w, a.rows),
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
                next_panels next;
                if (p0 + 2 * panels_per_item <= panels && item + 1 < end)
                  next = {&w, job.first_panel + p0 + panels_per_item};
                run_item(job, w, rows, n, p0, std::min(panels_per_item, panels - p0), next);
              }
            });
}

/// The first panels that each thread will be dealt, as far as they fit its L2 beside what else is there.
void prefetch(team& t, const prefetch_args& a) {
  const auto& w = *a.weight;
  const auto panels = w.out_padded() / panel, across = (panels + panels_per_item - 1) / panels_per_item;
  const auto weights = std::int64_t(std::min(panels, panels_per_item)) * panel * w.in;
  if (a.rows == 0 || !streams(w, a.rows) || across <= linear_grain(a.rows, weights)) {
    for (int i = 0; i < t.num_threads(); ++i) t.prefetch(i, {});
    return;
  }
  const auto most = (std::int64_t(512) << 10) / std::int64_t(w.panel_bytes());
  for (int i = 0; i < t.num_threads(); ++i) {
    const auto range = t.dealt(across, i);
    const auto first = range.begin * panels_per_item,
               count = std::max<std::int64_t>(
                   0, std::min(most, std::min<std::int64_t>(range.end * panels_per_item, panels) - first));
    const next_panels begin{&w, std::int32_t(first)};
    t.prefetch(i, {{begin.data(), std::size_t(count) * w.panel_bytes()},
                   {reinterpret_cast<const std::byte*>(begin.scales()),
                    std::size_t(count * w.groups()) * panel * sizeof(float)}});
  }
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
  share_out(t, num_parts * across, grain, streams(shape, 1) && total == num_parts,
            [&](std::int64_t begin, std::int64_t end) {
              linear_row rows[most_rows_per_item];
              std::int64_t ready = -1;
              for (auto item = begin; item < end; ++item) {
                const auto& part = parts[item / across];
                const auto& w = *a.weight[part.expert];
                if (ready != item / across)
                  ready_rows(
                      job, w, part.num_rows, rows,
                      [&](std::int32_t r) {
                        return std::int64_t(a.x_row == nullptr ? part.first + r : a.x_row[part.first + r]);
                      },
                      [&](std::int32_t r) {
                        return static_cast<std::byte*>(a.y) + (std::int64_t(part.first) + r) * row_bytes;
                      });
                ready = item / across;
                const auto p0 = std::int32_t(item % across) * panels_per_item;
                next_panels next;
                if (p0 + 2 * panels_per_item <= panels && item + 1 < end)
                  next = {&w, p0 + panels_per_item};
                else if (item + 1 < end && panels >= panels_per_item)
                  next = {a.weight[parts[(item + 1) / across].expert], 0};
                run_item(job, w, rows, part.num_rows, p0, std::min(panels_per_item, panels - p0), next);
              }
            });
}

} // namespace
} // namespace quadrant::gpu::simd
