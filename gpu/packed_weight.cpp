#include "gpu/packed_weight.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gpu/math.hpp"

namespace quadrant::gpu {
namespace {

/// Where weight (n, k) lies in the data of a quantised matrix.
std::size_t i8_index(const packed_weight& w, std::int32_t n, std::int32_t k) {
  return std::size_t(n / panel) * w.panel_bytes() + (std::size_t(k / 4) * panel + std::size_t(n % panel)) * 4 +
         std::size_t(k % 4);
}
struct nibble_place {
  std::size_t byte;
  int shift;
};
nibble_place i4_place(const packed_weight& w, std::int32_t n, std::int32_t k) {
  const auto byte = std::size_t(n / panel) * w.panel_bytes() +
                    (std::size_t(k / 8) * panel + std::size_t(n % panel)) * 4 + std::size_t(k % 4);
  return {byte, k % 8 < 4 ? 0 : 4};
}
std::size_t float_index(const packed_weight& w, std::int32_t n, std::int32_t k) {
  return std::size_t(n / panel) * std::size_t(w.in) * panel + std::size_t(k) * panel + std::size_t(n % panel);
}

packed_weight make(dtype type, std::int32_t out, std::int32_t in, std::int32_t group, std::int32_t zero,
                   std::span<const float> bias) {
  packed_weight w;
  w.type = type;
  w.in = in;
  w.out = out;
  w.group = group;
  w.zero = zero;
  w.data = aligned_bytes::of_weight(w.panel_bytes() * std::size_t(w.out_padded() / panel));
  if (type == dtype::i4) std::memset(w.data.data(), zero | (zero << 4), w.data.size()); // padding means 0
  if (group != 0)
    w.scale = aligned_bytes::of_weight(std::size_t(w.groups()) * std::size_t(w.out_padded()) * sizeof(float));
  if (!bias.empty()) {
    w.bias = aligned_bytes(std::size_t(w.out_padded()) * sizeof(float));
    std::ranges::copy(bias, w.bias.as<float>());
  }
  return w;
}

/// Of one run of a row under one scale: q in [-top, top]; returns the scale (rule 4). Written so that a compiler makes
/// vectors of it: 16 lanes, selections, and the nearest integer by adding and taking off 1.5 * 2^23.
float quantise_group(const float* x, std::int32_t n, int top, std::int8_t* q) {
  constexpr std::int32_t lanes = 16;
  float most[lanes] = {}, unsound[lanes] = {};
  std::int32_t k = 0;
  for (; k + lanes <= n; k += lanes)
    for (std::int32_t j = 0; j < lanes; ++j) {
      const float v = x[k + j], size = std::fabs(v);
      most[j] = size > most[j] ? size : most[j];
      unsound[j] += v - v; // NaN for ever where v is NaN or Inf
    }
  for (; k < n; ++k) {
    most[0] = std::fabs(x[k]) > most[0] ? std::fabs(x[k]) : most[0];
    unsound[0] += x[k] - x[k];
  }
  float amax = 0, sum = 0;
  for (std::int32_t j = 0; j < lanes; ++j) amax = std::max(amax, most[j]), sum += unsound[j];
  const float scale = amax / float(top);
  if (sum != 0 || scale == 0) { // NaN is not 0
    std::memset(q, 0, std::size_t(n));
    return sum != 0 ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
  }
  constexpr float nearest = 12582912.0f;
  const float limit = float(top);
  for (k = 0; k < n; ++k) {
    float v = x[k] / scale;
    v = v > limit ? limit : v < -limit ? -limit : v;
    q[k] = std::int8_t(int((v + nearest) - nearest));
  }
  return scale;
}

/// One NaN for all: the kernels round it without looking.
float quiet(float x) { return x == x ? x : std::numeric_limits<float>::quiet_NaN(); }

/// Four neighbouring bytes.
std::uint32_t four(const void* from) {
  std::uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// Rows of bytes [16][in_padded] to the order of one panel.
void lay_panel(const packed_weight& w, const std::uint8_t* rows, std::int32_t p) {
  const auto padded = w.in_padded();
  auto* to = w.data.data() + std::size_t(p) * w.panel_bytes();
  const auto put = [&to](std::uint32_t word) {
    std::memcpy(to, &word, sizeof word);
    to += sizeof word;
  };
  if (w.type == dtype::i8)
    for (std::int32_t k = 0; k < padded; k += 4)
      for (std::int32_t n = 0; n < panel; ++n) put(four(rows + std::ptrdiff_t(n) * padded + k));
  else
    for (std::int32_t k = 0; k < padded; k += 8)
      for (std::int32_t n = 0; n < panel; ++n) {
        const auto* row = rows + std::ptrdiff_t(n) * padded + k;
        put(four(row) | four(row + 4) << 4);
      }
}

/// fn(panel, first row, rows) over the panels, on the team; fn once a range so that it can keep its scratch memory.
template <class Fn>
void by_panels(const packed_weight& w, team& t, Fn make_fn) {
  t.parallel(w.out_padded() / panel, 1, [&](std::int64_t begin, std::int64_t end) {
    auto fn = make_fn();
    for (auto p = std::int32_t(begin); p < end; ++p) fn(p, p * panel, std::min(panel, w.out - p * panel));
  });
}

} // namespace

packed_weight pack(dtype type, std::int32_t out, std::int32_t in, std::int32_t group, const row_reader& rows, team& t,
                   std::span<const float> bias) {
  auto w = make(type, out, in, group, type == dtype::i4 ? 8 : 0, bias);
  const auto padded = std::size_t(w.in_padded());
  by_panels(w, t, [&] {
    return
        [&, x = std::vector<float>(std::size_t(panel) * std::size_t(in)),
         q = std::vector<std::int8_t>(panel * padded)](std::int32_t p, std::int32_t first, std::int32_t count) mutable {
          rows(first, count, x.data());
          if (group == 0) {
            for (std::int32_t n = 0; n < count; ++n)
              for (std::int32_t k = 0; k < in; ++k) {
                const float v = x[std::size_t(n) * std::size_t(in) + std::size_t(k)];
                const auto at = float_index(w, first + n, k);
                if (type == dtype::f32)
                  w.data.as<float>()[at] = v;
                else
                  w.data.as<std::uint16_t>()[at] = to_bf16(v);
              }
            return;
          }
          std::ranges::fill(q, std::int8_t(0));
          for (std::int32_t n = 0; n < count; ++n)
            for (std::int32_t g = 0; g < w.groups(); ++g) {
              const auto begin = g * group;
              w.scale_of(first + n, g) =
                  quantise_group(x.data() + std::size_t(n) * std::size_t(in) + begin, std::min(group, in - begin),
                                 type == dtype::i4 ? 7 : 127, q.data() + std::size_t(n) * padded + begin);
            }
          if (type == dtype::i4)
            for (auto& v : q) v = std::int8_t(v + 8);
          lay_panel(w, reinterpret_cast<const std::uint8_t*>(q.data()), p);
        };
  });
  return w;
}

packed_weight pack_i4(std::int32_t out, std::int32_t in, std::int32_t group, std::int32_t zero, const int4_reader& rows,
                      team& t, std::span<const float> bias) {
  auto w = make(dtype::i4, out, in, group, zero, bias);
  const auto padded = std::size_t(w.in_padded()), width = std::size_t(in), groups = std::size_t(w.groups());
  by_panels(w, t, [&] {
    return
        [&, q = std::vector<std::uint8_t>(panel * width), laid = std::vector<std::uint8_t>(panel * padded),
         scale = std::vector<float>(panel * groups)](std::int32_t p, std::int32_t first, std::int32_t count) mutable {
          rows(first, count, q.data(), scale.data());
          std::ranges::fill(laid, std::uint8_t(zero)); // padding means 0
          for (std::size_t n = 0; n < std::size_t(count); ++n) {
            std::copy_n(q.data() + n * width, width, laid.data() + n * padded);
            for (std::size_t g = 0; g < groups; ++g)
              w.scale_of(first + std::int32_t(n), std::int32_t(g)) = quiet(scale[n * groups + g]);
          }
          lay_panel(w, laid.data(), p);
        };
  });
  return w;
}

packed_weight pack(dtype type, std::span<const float> w, std::int32_t out, std::int32_t in, std::int32_t group,
                   std::span<const float> bias) {
  QCHECK_EQ(w.size(), std::size_t(out) * std::size_t(in));
  team alone({});
  return pack(
      type, out, in, group,
      [&](std::int32_t first, std::int32_t count, float* to) {
        std::copy_n(w.data() + std::size_t(first) * std::size_t(in), std::size_t(count) * std::size_t(in), to);
      },
      alone, bias);
}

packed_weight pack_i4(std::span<const std::uint8_t> q, std::span<const float> scale, std::int32_t zero,
                      std::int32_t out, std::int32_t in, std::int32_t group) {
  const auto groups = std::size_t((in + group - 1) / group);
  QCHECK_EQ(q.size(), std::size_t(out) * std::size_t(in));
  QCHECK_EQ(scale.size(), std::size_t(out) * groups);
  team alone({});
  return pack_i4(
      out, in, group, zero,
      [&](std::int32_t first, std::int32_t count, std::uint8_t* to, float* scale_to) {
        std::copy_n(q.data() + std::size_t(first) * std::size_t(in), std::size_t(count) * std::size_t(in), to);
        std::copy_n(scale.data() + std::size_t(first) * groups, std::size_t(count) * groups, scale_to);
      },
      alone);
}

void unpack(const packed_weight& w, std::span<float> out) {
  QCHECK_EQ(out.size(), std::size_t(w.out) * std::size_t(w.in));
  for (std::int32_t n = 0; n < w.out; ++n)
    for (std::int32_t k = 0; k < w.in; ++k) {
      float value = 0;
      switch (w.type) {
      case dtype::f32: value = w.data.as<float>()[float_index(w, n, k)]; break;
      case dtype::bf16: value = from_bf16(w.data.as<std::uint16_t>()[float_index(w, n, k)]); break;
      default: {
        const float scale = w.scale_of(n, k / w.group);
        const auto place = i4_place(w, n, k);
        const int q = w.type == dtype::i8 ? w.data.as<std::int8_t>()[i8_index(w, n, k)]
                                          : int((w.data.as<std::uint8_t>()[place.byte] >> place.shift) & 15) - w.zero;
        value = float(q) * scale;
      }
      }
      out[std::size_t(n) * std::size_t(w.in) + std::size_t(k)] = value;
    }
}

} // namespace quadrant::gpu
