// gpu/cpu/simd/kernels.inl: the ops of one vector back-end, over whatever words the including file chose.
//
//   avx2.cpp   = words_avx2.hpp   + kernels.inl, compiled for AVX2
//   avx512.cpp = words_avx512.hpp + kernels.inl, compiled for AVX-512
//
// Everything is in an unnamed namespace and no inline function of a header may be left to the linker: it might take the
// copy that was compiled here and run it where these instructions do not exist. test/gpu looks for such a symbol.

// Each builds on those before it.
// clang-format off
#include "gpu/cpu/simd/rows.inl"
#include "gpu/cpu/simd/tiles.inl"
#include "gpu/cpu/simd/linear_tile.inl"
#include "gpu/cpu/simd/linear.inl"
#include "gpu/cpu/simd/gate_up.inl"
#include "gpu/cpu/simd/turn.inl"
#include "gpu/cpu/simd/kv_append.inl"
#include "gpu/cpu/simd/kv_tile.inl"
#include "gpu/cpu/simd/attention_plan.inl"
#include "gpu/cpu/simd/attention_tile.inl"
#include "gpu/cpu/simd/attention.inl"
#include "gpu/cpu/simd/moe.inl"
#include "gpu/cpu/simd/sample.inl"
#include "gpu/cpu/simd/limits.inl"
// clang-format on

namespace quadrant::gpu::simd {
namespace {

constexpr ops_table table_named(const char* name) {
  return {.name = name,
          .embed = embed,
          .rms_norm = rms_norm,
          .head_norm_rope = head_norm_rope,
          .join_rope = join_rope,
          .quantise = quantise,
          .add = add,
          .add_gated = add_gated,
          .clamp = clamp,
          .linear = linear,
          .prefetch = prefetch,
          .grouped_linear = grouped_linear,
          .gate_up = gate_up,
          .kv_append = kv_append,
          .attend = attend,
          .merge = merge,
          .route = route,
          .moe_sort = reference::moe_sort,       // this one
          .gather_rows = reference::gather_rows, // and this move bytes
          .combine = combine,
          .sample = sample};
}

constexpr limit_fns limits_here{.dot = dot_from_registers, .read = read_bytes};

} // namespace
} // namespace quadrant::gpu::simd
