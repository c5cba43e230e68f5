#include "gpu/packed_weight.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

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

void put_nibble(packed_weight& w, std::int32_t n, std::int32_t k, std::uint8_t q) {
  const auto [byte, shift] = i4_place(w, n, k);
  auto& place = w.data.as<std::uint8_t>()[byte];
  place = std::uint8_t((place & ~(15u << shift)) | (unsigned(q) << shift));
}

packed_weight make(dtype type, std::int32_t out, std::int32_t in, std::int32_t group, std::int32_t zero) {
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
  return w;
}

} // namespace

packed_weight pack(dtype type, std::span<const float> w, std::int32_t out, std::int32_t in, std::int32_t group,
                   std::span<const float> bias) {
  QCHECK_EQ(w.size(), std::size_t(out) * std::size_t(in));
  const int top = type == dtype::i4 ? 7 : 127;
  auto packed = make(type, out, in, group, type == dtype::i4 ? 8 : 0);
  for (std::int32_t n = 0; n < out; ++n) {
    const float* row = w.data() + std::size_t(n) * std::size_t(in);
    for (std::int32_t k = 0; group == 0 && k < in; ++k) {
      if (type == dtype::f32)
        packed.data.as<float>()[float_index(packed, n, k)] = row[k];
      else
        packed.data.as<std::uint16_t>()[float_index(packed, n, k)] = to_bf16(row[k]);
    }
    for (std::int32_t g = 0; g < packed.groups(); ++g) {
      const auto first = g * group, end = std::min(in, first + group);
      float amax = 0;
      bool finite = true;
      for (auto k = first; k < end; ++k) {
        amax = std::max(amax, std::fabs(row[k]));
        finite = finite && std::isfinite(row[k]);
      }
      const float scale = finite ? amax / float(top) : std::numeric_limits<float>::quiet_NaN(); // rule 4
      packed.scale_of(n, g) = scale;
      for (auto k = first; k < end; ++k) {
        const auto q = scale == 0 || !finite ? 0 : std::clamp(int(std::nearbyintf(row[k] / scale)), -top, top);
        if (type == dtype::i8)
          packed.data.as<std::int8_t>()[i8_index(packed, n, k)] = std::int8_t(q);
        else
          put_nibble(packed, n, k, std::uint8_t(q + 8));
      }
    }
  }
  if (!bias.empty()) {
    packed.bias = aligned_bytes(std::size_t(packed.out_padded()) * sizeof(float));
    std::ranges::copy(bias, packed.bias.as<float>());
  }
  return packed;
}

packed_weight pack_i4(std::span<const std::uint8_t> q, std::span<const float> scale, std::int32_t zero,
                      std::int32_t out, std::int32_t in, std::int32_t group) {
  auto packed = make(dtype::i4, out, in, group, zero);
  QCHECK_EQ(q.size(), std::size_t(out) * std::size_t(in));
  QCHECK_EQ(scale.size(), std::size_t(out) * std::size_t(packed.groups()));
  for (std::int32_t n = 0; n < out; ++n) {
    for (std::int32_t k = 0; k < in; ++k)
      put_nibble(packed, n, k, q[std::size_t(n) * std::size_t(in) + std::size_t(k)]);
    for (std::int32_t g = 0; g < packed.groups(); ++g)
      packed.scale_of(n, g) = scale[std::size_t(n) * std::size_t(packed.groups()) + std::size_t(g)];
  }
  return packed;
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
