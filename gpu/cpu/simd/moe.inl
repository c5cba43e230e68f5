// gpu/cpu/simd/moe.inl: routing and combining. Sorting and gathering are the reference's.
// Source  gpu/cpu/reference/moe.cpp

namespace quadrant::gpu::simd {
namespace {

/// The best of p[0, n) by (p descending, e ascending); n is padded to 16 with -inf. No NaN.
std::int32_t best_of(const float* p, std::int32_t n) {
  alignas(64) static constexpr std::int32_t counting[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  auto top = load(p);
  auto at = load(counting), best = at;
  for (std::int32_t e = 16; e < n; e += 16) {
    at = add(at, all(std::int32_t{16}));
    const auto v = load(p + e);
    const auto more = less(top, v);
    top = pick(more, v, top);
    best = pick(more, at, best);
  }
  return fold_min(pick(equal(top, all(fold_max(top))), best, all(std::numeric_limits<std::int32_t>::max())));
}

/// What the logits p [n padded to 16] say of each expert, in their place; false where one is not finite enough.
bool probabilities(const router& how, std::int32_t n, float* p) {
  if (how.sigmoid) {
    auto rest = all(0.0f); // 0, or NaN for ever
    by_16(n, [&](std::int64_t e, int some) {
      const auto x = load(p + e, some);
      rest = add(rest, sub(x, x));
      store(p + e, div(all(1.0f), add(all(1.0f), exp_f32(sub(all(-0.0f), x)))), some);
    });
    return !any(is_nan(rest));
  }
  for (auto e = n; e % 16 != 0; ++e) p[e] = -inf_f32;
  auto top = load(p);
  for (std::int32_t e = 16; e < n; e += 16) top = higher(load(p + e), top);
  const auto most = all(fold_max(top));
  auto lanes = all(0.0f);
  by_16(n, [&](std::int64_t e, int some) {
    const auto x = exp_f32(sub(load(p + e, some), most));
    store(p + e, x, some);
    lanes = add(lanes, load(p + e, some)); // past the end: adds 0
  });
  const float sum = fold_sum(lanes);
  by_16(n, [&](std::int64_t e, int some) { store(p + e, div(load(p + e, some), all(sum)), some); });
  return sum == sum;
}

/// The k experts of one row of logits; p, c [n padded to 16].
void choose_experts(const route_args& a, float* p, float* c, std::int32_t* expert, float* weight) {
  const auto n = a.num_experts;
  const bool sound = probabilities(a.how, n, p);
  by_16(n, [&](std::int64_t e, int some) {
    const auto v = load(p + e, some);
    store(c + e, a.bias == nullptr ? v : add(v, load(a.bias + e, some)), some);
  });
  for (auto e = n; e % 16 != 0; ++e) c[e] = -inf_f32;
  if (a.how.groups > 1) reference::drop_groups(a.how, c, n);
  float total = 0;
  for (std::int32_t j = 0; j < a.top_k; ++j) {
    const auto best = sound ? best_of(c, n) : 0;
    expert[j] = best;
    weight[j] = sound ? p[best] : nan_f32;
    total = total + p[best];
    c[best] = -inf_f32;
  }
  for (std::int32_t j = 0; j < a.top_k; ++j) {
    if (a.how.renormalise) weight[j] /= total + a.how.epsilon;
    weight[j] *= a.how.scale;
  }
}

void route(team& t, const route_args& a) {
  const auto& gate = *a.gate;
  const act_view x{.f = const_cast<float*>(a.x)};
  const linear_job job{.x = &x, .in = gate.in, .first_panel = 0, .num_out = a.num_experts};
  const auto panels = (a.num_experts + panel - 1) / panel;
  constexpr std::int32_t rows_each = 12; // routing has few outputs: rows are what can be shared out
  const auto parts = (a.tokens + rows_each - 1) / rows_each;
  const auto macs = std::int64_t(std::min(a.tokens, rows_each)) * gate.in * panels * panel;
  t.parallel(parts, grain_for(macs, macs_worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    const auto width = std::int64_t(panels) * panel;
    auto* p = scratch<float>(slot::row, (rows_each + 1) * width);
    linear_row rows[rows_each];
    for (auto part = begin; part < end; ++part) {
      const auto first = part * rows_each;
      const auto n = std::int32_t(std::min<std::int64_t>(rows_each, a.tokens - first));
      ready_rows(
          job, gate, n, rows, [&](std::int32_t r) { return first + r; }, [&](std::int32_t r) { return p + r * width; });
      for (std::int32_t p0 = 0; p0 < panels; p0 += panels_per_item)
        run_item(job, gate, rows, n, p0, std::min(panels_per_item, panels - p0), {});
      for (std::int32_t r = 0; r < n; ++r)
        choose_experts(a, p + r * width, p + rows_each * width, a.expert + (first + r) * a.top_k,
                       a.weight + (first + r) * a.top_k);
    }
  });
}

void combine(team& t, const combine_args& a) {
  t.parallel(a.tokens, grain_for(std::int64_t(a.top_k) * a.hidden, worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               for (auto row = begin; row < end; ++row)
                 by_16(a.hidden, [&](std::int64_t h, int some) {
                   auto sum = all(0.0f);
                   for (std::int32_t j = 0; j < a.top_k; ++j) {
                     const auto at = std::int64_t(a.row_of_pair[row * a.top_k + j]) * a.hidden + h;
                     const auto value = a.row_type == dtype::f32
                                            ? load(static_cast<const float*>(a.rows) + at, some)
                                            : from_bf16(load_u16(static_cast<const std::uint16_t*>(a.rows) + at, some));
                     sum = fma(all(a.weight[row * a.top_k + j]), value, sum);
                   }
                   float* x = a.x + row * a.hidden + h;
                   store(x, add(load(x, some), sum), some);
                 });
             });
}

} // namespace
} // namespace quadrant::gpu::simd
