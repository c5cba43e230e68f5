// gpu/kv_layout.hpp: where the bytes of a KV block lie.
//
//   block  = [layer][kv head] slices                 one block id covers all layers of a shard
//   slice  = K rows | V rows | K scales | V scales   the unit of transfer, 64-byte aligned
//   rows   = [block_tokens][head_dim] of `type`
//   scales = f32 [block_tokens], only for i8: the open block has one per row; a sealed block has its single
//            scale (one per block and KV head, rule 7) in all of them
//
// Units   one block = block_tokens consecutive positions of one sequence
// Source  PagedAttention, arXiv:2309.06180
#pragma once
#include <cstddef>
#include <cstdint>

#include "gpu/dtype.hpp"

namespace quadrant::gpu {

inline constexpr std::int32_t block_tokens = 64;     ///< positions in a KV block, and in an attention tile
inline constexpr std::int32_t segment_tokens = 1024; ///< positions in a segment: a split ends only at its border

struct kv_layout {
  std::int32_t num_layers = 0;   ///< of this shard
  std::int32_t num_kv_heads = 0; ///< of this shard
  std::int32_t head_dim = 0;
  dtype type = dtype::i8; ///< f32, bf16 or i8

  [[nodiscard]] constexpr std::size_t row_bytes() const noexcept { return std::size_t(head_dim) * bits(type) / 8; }
  [[nodiscard]] constexpr std::size_t plane_bytes() const noexcept { return block_tokens * row_bytes(); }
  [[nodiscard]] constexpr std::size_t scale_bytes() const noexcept {
    return type == dtype::i8 ? block_tokens * sizeof(float) : 0;
  }
  [[nodiscard]] constexpr std::size_t k_offset() const noexcept { return 0; }
  [[nodiscard]] constexpr std::size_t v_offset() const noexcept { return plane_bytes(); }
  [[nodiscard]] constexpr std::size_t k_scale_offset() const noexcept { return 2 * plane_bytes(); }
  [[nodiscard]] constexpr std::size_t v_scale_offset() const noexcept { return 2 * plane_bytes() + scale_bytes(); }
  [[nodiscard]] constexpr std::size_t slice_bytes() const noexcept {
    return (2 * (plane_bytes() + scale_bytes()) + 63) / 64 * 64;
  }
  [[nodiscard]] constexpr std::size_t block_bytes() const noexcept {
    return std::size_t(num_layers) * std::size_t(num_kv_heads) * slice_bytes();
  }
  /// Offset of a slice within the whole pool.
  [[nodiscard]] constexpr std::size_t slice_offset(std::int32_t block, std::int32_t layer,
                                                   std::int32_t head) const noexcept {
    return std::size_t(block) * block_bytes() + (std::size_t(layer) * num_kv_heads + head) * slice_bytes();
  }
  bool operator==(const kv_layout&) const = default;
};

} // namespace quadrant::gpu
