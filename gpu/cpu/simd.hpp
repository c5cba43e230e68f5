// gpu/cpu/simd.hpp: the vector back-ends: one source (simd/kernels.inl) over the words of each instruction set.
#pragma once
#include "gpu/ops.hpp"

namespace quadrant::gpu::simd {

const ops_table& avx2_ops();
const ops_table& avx512_ops();

} // namespace quadrant::gpu::simd
