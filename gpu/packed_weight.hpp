// gpu/packed_weight.hpp: the weights of one linear, in the order the kernels eat them.
//
// W [out, in] of the checkpoint becomes panels of 16 outputs:
//   f32, bf16  data[panel][in][16]                      one column vector a step of k
//   i8         data[panel][in_padded/4][16][4]          four k of one output side by side (vpdpbusd order)
//   i4         data[panel][in_padded/8][16][4] bytes    byte (p, k8, n, j): low nibble k = 8*k8 + j,
//                                                       high nibble k = 8*k8 + 4 + j
//   scale      f32 [panel][groups][16]                  groups = ceil(in / group)
//   zero       i4 only: the nibble that means 0 (symmetric checkpoints: 8), one for the whole tensor
// Outputs are padded to 16 with zero weights; in_padded is `in` rounded up to 8, padded weights mean 0.
// Value of a quantised weight: (q - zero) * scale of its group and output; i8 has zero 0 and lies in [-127, 127].
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "config/result.hpp"
#include "gpu/dtype.hpp"
#include "gpu/memory.hpp"
#include "gpu/team.hpp"

namespace quadrant::gpu {

inline constexpr std::int32_t panel = 16; ///< outputs that lie side by side

struct packed_weight {
  dtype type = dtype::f32;
  std::int32_t in = 0, out = 0;
  std::int32_t group = 0; ///< along in; 0 for f32 and bf16
  std::int32_t zero = 0;
  aligned_bytes data;
  aligned_bytes scale; ///< f32 [panels][groups][16]; empty for f32 and bf16
  aligned_bytes bias;  ///< f32 [out_padded]; may be empty

  [[nodiscard]] std::int32_t out_padded() const noexcept { return (out + panel - 1) / panel * panel; }
  [[nodiscard]] std::int32_t in_padded() const noexcept { return (in + 7) / 8 * 8; }
  [[nodiscard]] std::int32_t groups() const noexcept { return group == 0 ? 0 : (in + group - 1) / group; }
  /// [groups][16] scales of one panel.
  [[nodiscard]] float* panel_scales(std::int32_t p) const noexcept {
    return scale.as<float>() + std::ptrdiff_t(p) * groups() * panel;
  }
  [[nodiscard]] float& scale_of(std::int32_t n, std::int32_t g) const noexcept {
    return panel_scales(n / panel)[g * panel + n % panel];
  }
  /// Bytes of one panel of 16 outputs in `data`.
  [[nodiscard]] std::size_t panel_bytes() const noexcept {
    const auto k = std::size_t(type == dtype::f32 || type == dtype::bf16 ? in : in_padded());
    return k * panel * bits(type) / 8;
  }
};

/// Writes rows [first, first + count) of a matrix [out, in] to `to`; called from the threads of a team, each for rows of
/// its own.
using row_reader = std::function<void(std::int32_t first, std::int32_t count, float* to)>;
/// The same of rows that a checkpoint has already quantised: q [count][in] in 0..15 (one a byte), scale [count][groups].
using int4_reader = std::function<void(std::int32_t first, std::int32_t count, std::uint8_t* q, float* scale)>;

/// Packs f32 weights, a panel at a time, so that no more than 16 rows a thread are ever held in f32. i8: symmetric,
/// amax/127 per (group, output), round to nearest even. i4: symmetric round to nearest of amax/7, zero 8. f32 and bf16:
/// as they are (bf16 by round to nearest even). A group with a NaN or an Inf gets scale NaN.
packed_weight pack(dtype type, std::int32_t out, std::int32_t in, std::int32_t group, const row_reader& rows, team& t,
                   std::span<const float> bias = {});
packed_weight pack_i4(std::int32_t out, std::int32_t in, std::int32_t group, std::int32_t zero, const int4_reader& rows,
                      team& t, std::span<const float> bias = {});

/// The same from memory, on this thread: w [out, in], row stride in.
packed_weight pack(dtype type, std::span<const float> w, std::int32_t out, std::int32_t in, std::int32_t group,
                   std::span<const float> bias = {});
packed_weight pack_i4(std::span<const std::uint8_t> q, std::span<const float> scale, std::int32_t zero,
                      std::int32_t out, std::int32_t in, std::int32_t group);

/// Back to f32 w [out, in]: what the kernels multiply with, for references and tests.
void unpack(const packed_weight& w, std::span<float> out);

} // namespace quadrant::gpu
