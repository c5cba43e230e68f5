#include "gpu/cpu/reference.hpp"

namespace quadrant::gpu::reference {

const ops_table& ops() {
  static constexpr ops_table table{.name = "scalar",
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
                                   .moe_sort = moe_sort,
                                   .gather_rows = gather_rows,
                                   .combine = combine,
                                   .sample = sample};
  return table;
}

} // namespace quadrant::gpu::reference
