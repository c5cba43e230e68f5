// gpu/kv_layout.hpp: where the bytes of a KV block lie.
//
//   pool   = [layer][block][kv head] slices              one block id covers all layers of a shard; a layer's KV of
//            neighbouring blocks lies in one piece, because a step reads layer after layer
//   slice  = rows of each plane | scales of each plane   the unit of transfer, 64-byte aligned
//   rows   = [block_tokens][width] of the plane's type
//   scales = f32 [block_tokens], only of an i8 plane: the open block has one per row; a sealed block has its single
//            scale (one per block and KV head, rule 7) in all of them
//
// Keys and values of i8, with a width of whole panels of 16: sealing also turns the rows to the order in which the
// integer tiles read them, so that attend turns nothing:
//   K      [position / 16][d / 4][position % 16][d % 4]
//   V      [d / 16][position / 4][d % 16][position % 4]
//
// Grouped-query attention has two planes of one width, K and V. Latent attention (MLA) has one head: K is the latent and
// what turns, V the latent once more, because sealed K and V lie in different orders.
// Units   one block = block_tokens consecutive positions of one sequence
// Source  PagedAttention, arXiv:2309.06180
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "config/check.hpp"
#include "gpu/dtype.hpp"

namespace quadrant::gpu {

inline constexpr std::int32_t block_tokens = 64;     ///< positions in a KV block, and in an attention tile
inline constexpr std::int32_t segment_tokens = 1024; ///< positions in a segment: a split ends only at its border

struct kv_plane {
  std::int32_t width = 0; ///< elements of one position and head
  dtype type = dtype::i8; ///< f32, bf16, or i8 with a scale for each position and head

  [[nodiscard]] constexpr std::size_t row_bytes() const noexcept { return std::size_t(width) * bits(type) / 8; }
  [[nodiscard]] constexpr std::size_t scale_bytes() const noexcept {
    return type == dtype::i8 ? block_tokens * sizeof(float) : 0;
  }
  bool operator==(const kv_plane&) const = default;
};

class kv_layout {
public:
  static constexpr std::size_t max_planes = 4;

  kv_layout() = default;
  constexpr kv_layout(std::int32_t blocks, std::int32_t layers, std::int32_t heads,
                      std::initializer_list<kv_plane> planes)
      : num_blocks(blocks), num_layers(layers), num_kv_heads(heads) {
    QCHECK_LE(planes.size(), max_planes);
    for (const auto& p : planes) {
      planes_[num_planes_] = p;
      row_offset_[num_planes_++] = slice_bytes_;
      slice_bytes_ += block_tokens * p.row_bytes();
    }
    for (std::size_t i = 0; i < num_planes_; ++i) {
      scale_offset_[i] = slice_bytes_;
      slice_bytes_ += planes_[i].scale_bytes();
    }
    slice_bytes_ = (slice_bytes_ + 63) / 64 * 64;
  }
  /// Planes 0 and 1 of one type: what kv_append and attend work on.
  static constexpr kv_layout keys_and_values(std::int32_t blocks, std::int32_t layers, std::int32_t heads,
                                             std::int32_t key_dim, std::int32_t value_dim, dtype type) {
    return {blocks, layers, heads, {{key_dim, type}, {value_dim, type}}};
  }

  std::int32_t num_blocks = 0;   ///< of the pool
  std::int32_t num_layers = 0;   ///< of this shard
  std::int32_t num_kv_heads = 0; ///< of this shard

  [[nodiscard]] constexpr std::size_t num_planes() const noexcept { return num_planes_; }
  [[nodiscard]] constexpr const kv_plane& plane(std::size_t p) const noexcept { return planes_[p]; }
  /// Are the rows of sealed blocks of keys and values turned?
  [[nodiscard]] constexpr bool turns_sealed() const noexcept { return type() == dtype::i8 && has_whole_panels(); }
  /// Where element d of a position lies within the K or V rows of a sealed block that is turned.
  [[nodiscard]] constexpr std::size_t sealed_k(std::int32_t position, std::int32_t d) const noexcept {
    return (std::size_t(position / 16 * key_dim()) + std::size_t(d / 4 * 4)) * 16 +
           std::size_t(position % 16 * 4 + d % 4);
  }
  [[nodiscard]] static constexpr std::size_t sealed_v(std::int32_t position, std::int32_t d) noexcept {
    return std::size_t(d / 16) * 16 * block_tokens + std::size_t(position / 4 * 64 + d % 16 * 4 + position % 4);
  }
  /// Within a slice.
  [[nodiscard]] constexpr std::size_t row_offset(std::size_t p) const noexcept { return row_offset_[p]; }
  [[nodiscard]] constexpr std::size_t scale_offset(std::size_t p) const noexcept { return scale_offset_[p]; }

  // Of keys and values.
  [[nodiscard]] constexpr std::int32_t key_dim() const noexcept { return planes_[0].width; }
  [[nodiscard]] constexpr std::int32_t value_dim() const noexcept { return planes_[1].width; }
  [[nodiscard]] constexpr bool has_whole_panels() const noexcept {
    return key_dim() % 16 == 0 && value_dim() % 16 == 0;
  }
  [[nodiscard]] constexpr dtype type() const noexcept { return planes_[0].type; }
  [[nodiscard]] constexpr std::size_t k_row_bytes() const noexcept { return planes_[0].row_bytes(); }
  [[nodiscard]] constexpr std::size_t v_row_bytes() const noexcept { return planes_[1].row_bytes(); }
  [[nodiscard]] constexpr std::size_t k_offset() const noexcept { return row_offset_[0]; }
  [[nodiscard]] constexpr std::size_t v_offset() const noexcept { return row_offset_[1]; }
  [[nodiscard]] constexpr std::size_t k_scale_offset() const noexcept { return scale_offset_[0]; }
  [[nodiscard]] constexpr std::size_t v_scale_offset() const noexcept { return scale_offset_[1]; }

  [[nodiscard]] constexpr std::size_t slice_bytes() const noexcept { return slice_bytes_; }
  [[nodiscard]] constexpr std::size_t pool_bytes() const noexcept {
    return std::size_t(num_blocks) * std::size_t(num_layers) * std::size_t(num_kv_heads) * slice_bytes_;
  }
  /// Offset of a slice within the pool.
  [[nodiscard]] constexpr std::size_t slice_offset(std::int32_t block, std::int32_t layer,
                                                   std::int32_t head) const noexcept {
    return ((std::size_t(layer) * std::size_t(num_blocks) + std::size_t(block)) * std::size_t(num_kv_heads) +
            std::size_t(head)) *
           slice_bytes_;
  }
  bool operator==(const kv_layout&) const = default;

private:
  std::size_t num_planes_ = 0, slice_bytes_ = 0;
  std::array<kv_plane, max_planes> planes_{};
  std::array<std::size_t, max_planes> row_offset_{}, scale_offset_{};
};

} // namespace quadrant::gpu
