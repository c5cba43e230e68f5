// gpu/cpu/simd/rows.inl: element and row ops, and what the other ops need of rows: exp, 16-lane sums, quantising, bf16.
// Source  gpu/cpu/reference/rows.cpp, row_math.hpp; gpu/math.hpp for exp and bf16, step by step

namespace quadrant::gpu::simd {
namespace {

constexpr float inf_f32 = std::numeric_limits<float>::infinity();
constexpr float nan_f32 = std::numeric_limits<float>::quiet_NaN();

template <class T>
T* scratch(slot use, std::int64_t n) {
  return reinterpret_cast<T*>(scratch_bytes(use, std::size_t(n) * sizeof(T)));
}

/// fn(i, n) for i = 0, 16, ...: n is 16, but for a shorter last one.
template <class Fn>
QUADRANT_WORD void by_16(std::int64_t count, Fn fn) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) fn(i, std::integral_constant<int, 16>{});
  if (i < count) fn(i, int(count - i));
}

QUADRANT_WORD f32x16 exp_f32(f32x16 x) {
  const auto n = rint(mul(x, all(1.44269504f)));
  auto r = fma(n, all(-0.693145752f), x);
  r = fma(n, all(-1.42860677e-6f), r);
  auto p = all(1.38888892e-3f);
  for (const float c : {8.33333377e-3f, 4.16666679e-2f, 1.66666672e-1f, 0.5f, 1.0f, 1.0f}) p = fma(p, r, all(c));
  p = mul(p, as_f32(left<23>(add(nearest(n), all(127)))));
  p = pick(less(x, all(-87.0f)), all(0.0f), p);
  p = pick(less(all(88.0f), x), all(inf_f32), p);
  return pick(is_nan(x), x, p);
}

QUADRANT_WORD f32x16 from_bf16(i32x16 words) { return as_f32(left<16>(words)); }

/// The bf16 word of each lane.
QUADRANT_WORD i32x16 to_bf16(f32x16 x) {
  const auto u = as_i32(x), high = right<16>(u);
  const auto rounded = right<16>(add(u, add(all(0x7fff), both(high, all(1)))));
  return pick(is_nan(x), either(high, all(0x40)), rounded);
}
QUADRANT_WORD f32x16 round_bf16(f32x16 x) { return from_bf16(to_bf16(x)); }

QUADRANT_WORD float inverse_rms(const float* x, std::int32_t n, float eps) {
  auto lanes = all(0.0f);
  by_16(n, [&](std::int64_t i, int some) {
    const auto v = load(x + i, some);
    lanes = fma(v, v, lanes);
  });
  return 1.0f / __builtin_sqrtf(fold_sum(lanes) / float(n) + eps);
}

/// Returns the scale; rules 4 and 5.
inline float quantise_run(const float* x, std::int32_t n, std::int8_t* q) {
  auto top = all(0.0f), finite_top = all(0.0f);
  by_16(n, [&](std::int64_t i, int some) {
    const auto a = abs(load(x + i, some));
    top = higher(a, top);
    finite_top = add(finite_top, sub(a, a)); // 0, or NaN for ever where a is NaN or Inf
  });
  const bool finite = !any(is_nan(finite_top));
  const float amax = finite ? fold_max(top) : 0.0f;
  if (amax == 0) {
    __builtin_memset(q, 0, std::size_t(n));
    return finite ? 0.0f : nan_f32;
  }
  const float scale = amax / 127.0f;
  by_16(n, [&](std::int64_t i, int some) {
    const auto v = div(load(x + i, some), all(scale));
    store_i8(q + i, nearest(lower(higher(v, all(-127.0f)), all(127.0f))), some);
  });
  return scale;
}

inline void store_act(const float* x, std::int64_t row, std::int32_t cols, bool round, const act_view& out) {
  if (out.f != nullptr)
    by_16(cols, [&](std::int64_t c, int some) {
      const auto v = load(x + c, some);
      store(out.f + row * cols + c, round ? round_bf16(v) : v, some);
    });
  if (out.q == nullptr) return;
  const auto group = out.scale_group == 0 ? cols : out.scale_group;
  for (std::int32_t c = 0; c < cols; c += group)
    out.scale[row * (cols / group) + c / group] = quantise_run(x + c, group, out.q + row * cols + c);
}

// A range of rows worth another thread: about as long as waking it takes.
constexpr std::int64_t worth_a_thread = 1 << 15; ///< elements of a row op
constexpr std::int64_t grain_for(std::int64_t per_item, std::int64_t worth) {
  return per_item >= worth ? 1 : worth / (per_item + 1) + 1;
}

void embed(team& t, const embed_args& a) {
  if (a.table_type != dtype::bf16) return reference::embed(t, a); // a memcpy
  t.parallel(a.tokens, grain_for(a.hidden, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      auto id = a.ids[row];
      if (id < 0) id = a.token_slots[-1 - id];
      if (id < 0 || id >= a.vocab) id = 0; // as the reference does
      const auto* from = static_cast<const std::uint16_t*>(a.table) + std::int64_t(id) * a.hidden;
      by_16(a.hidden, [&](std::int64_t h, int some) {
        store(a.x + row * a.hidden + h, from_bf16(load_u16(from + h, some)), some);
      });
    }
  });
}

void rms_norm(team& t, const rms_norm_args& a) {
  t.parallel(a.rows, grain_for(a.cols, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    auto* y = scratch<float>(slot::row, a.cols);
    for (auto row = begin; row < end; ++row) {
      const float* x = a.x + row * (a.x_stride == 0 ? a.cols : a.x_stride);
      const auto r = all(inverse_rms(x, a.cols, a.eps));
      by_16(a.cols, [&](std::int64_t c, int some) {
        store(y + c, mul(mul(load(x + c, some), r), load(a.weight + c, some)), some);
      });
      if (a.f != nullptr) store_act(y, row, a.cols, a.round_bf16, {.f = a.f});
      store_act(y, row, a.cols, a.round_bf16, a.out);
    }
  });
}

void head_norm_rope(team& t, const head_norm_rope_args& a) {
  const auto half = a.head_dim / 2;
  t.parallel(a.tokens, grain_for(std::int64_t(a.heads) * a.head_dim, worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               auto *y = scratch<float>(slot::row, 2 * std::int64_t(a.head_dim)), *o = y + a.head_dim;
               for (auto row = begin; row < end; ++row) {
                 const float* cos = a.cos + std::int64_t(a.positions[row]) * half;
                 const float* sin = a.sin + std::int64_t(a.positions[row]) * half;
                 for (std::int32_t h = 0; h < a.heads; ++h) {
                   const float* x = a.x + row * a.stride + std::int64_t(h) * a.head_dim;
                   if (a.weight != nullptr) {
                     const auto r = all(inverse_rms(x, a.head_dim, a.eps));
                     by_16(a.head_dim, [&](std::int64_t d, int some) {
                       store(y + d, mul(mul(load(x + d, some), r), load(a.weight + d, some)), some);
                     });
                     x = y;
                   }
                   const auto factor = all(a.out.f != nullptr ? a.scale_factor : 1.0f); // times 1 keeps every value
                   by_16(half, [&](std::int64_t i, int some) {
                     const auto p = load(x + i, some), q = load(x + half + i, some), c = load(cos + i, some),
                                s = load(sin + i, some);
                     store(o + i, mul(fms(p, c, mul(q, s)), factor), some);
                     store(o + half + i, mul(fma(q, c, mul(p, s)), factor), some);
                   });
                   const auto at = row * a.heads + h;
                   if (a.out.f != nullptr)
                     store_act(o, at, a.head_dim, a.round_bf16, {.f = a.out.f});
                   else
                     a.out.scale[at] = quantise_run(o, a.head_dim, a.out.q + at * a.head_dim) * a.scale_factor;
                 }
               }
             });
}

void join_rope(team& t, const join_rope_args& a) {
  const auto width = a.a_dim + a.b_dim, half = a.b_dim / 2;
  t.parallel(a.tokens, grain_for(std::int64_t(a.heads) * width, worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               auto* y = scratch<float>(slot::row, width);
               for (auto row = begin; row < end; ++row) {
                 const float* cos = a.cos + std::int64_t(a.positions[row]) * half;
                 const float* sin = a.sin + std::int64_t(a.positions[row]) * half;
                 for (std::int32_t h = 0; h < a.heads; ++h) {
                   const float *x = a.a + row * a.a_row + h * a.a_head, *b = a.b + row * a.b_row + h * a.b_head;
                   const float f = a.out.f != nullptr ? a.factor : 1.0f; // times 1 keeps every value
                   const auto r = all(a.weight == nullptr ? 1.0f : inverse_rms(x, a.a_dim, a.eps));
                   by_16(a.a_dim, [&](std::int64_t d, int some) {
                     auto v = load(x + d, some);
                     if (a.weight != nullptr) v = mul(mul(v, r), load(a.weight + d, some));
                     store(y + d, mul(v, all(f)), some);
                   });
                   float* turned = y + a.a_dim;
                   for (std::int32_t i = 0; a.pairs && i < half; ++i) { // few, and they lie beside each other
                     const float p = b[2 * i], q = b[2 * i + 1];
                     turned[2 * i] = __builtin_fmaf(p, cos[i], -(q * sin[i])) * f;
                     turned[2 * i + 1] = __builtin_fmaf(q, cos[i], p * sin[i]) * f;
                   }
                   if (!a.pairs)
                     by_16(half, [&](std::int64_t i, int some) {
                       const auto p = load(b + i, some), q = load(b + half + i, some), c = load(cos + i, some),
                                  s = load(sin + i, some);
                       store(turned + i, mul(fms(p, c, mul(q, s)), all(f)), some);
                       store(turned + half + i, mul(fma(q, c, mul(p, s)), all(f)), some);
                     });
                   const auto at = row * a.heads + h;
                   if (a.out.f != nullptr)
                     store_act(y, at, width, a.round_bf16, {.f = a.out.f});
                   else
                     a.out.scale[at] = quantise_run(y, width, a.out.q + at * width) * a.factor;
                 }
               }
             });
}

void quantise(team& t, const quantise_args& a) {
  t.parallel(a.rows, grain_for(a.cols, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) store_act(a.x + row * a.cols, row, a.cols, a.round_bf16, a.out);
  });
}

void add(team& t, const add_args& a) {
  t.parallel(a.count, worth_a_thread, [&](std::int64_t begin, std::int64_t end) {
    by_16(end - begin, [&](std::int64_t i, int some) {
      float* x = a.x + begin + i;
      store(x, add(load(x, some), load(a.y + begin + i, some)), some);
    });
  });
}

void add_gated(team& t, const add_gated_args& a) {
  t.parallel(a.rows, grain_for(a.cols, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      const auto g = div(all(1.0f), add(all(1.0f), exp_f32(all(-a.gate[row]))));
      by_16(a.cols, [&](std::int64_t c, int some) {
        float* x = a.x + row * a.cols + c;
        store(x, fma(g, load(a.y + row * a.cols + c, some), load(x, some)), some);
      });
    }
  });
}

void clamp(team& t, const clamp_args& a) {
  t.parallel(a.rows, grain_for(a.cols, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row)
      by_16(a.cols, [&](std::int64_t c, int some) {
        float* x = a.x + row * a.stride + c;
        const auto v = load(x, some), most = all(a.limit), least = all(-a.limit);
        store(x, pick(less(v, least), least, pick(less(most, v), most, v)), some);
      });
  });
}

/// y = silu(gate) * up
QUADRANT_WORD void silu_mul_row(const float* gate, const float* up, std::int64_t cols, float* y) {
  by_16(cols, [&](std::int64_t c, int some) {
    const auto g = load(gate + c, some);
    store(y + c, mul(div(g, add(all(1.0f), exp_f32(sub(all(-0.0f), g)))), load(up + c, some)), some);
  });
}

} // namespace
} // namespace quadrant::gpu::simd
