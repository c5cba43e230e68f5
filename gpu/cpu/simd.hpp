// gpu/cpu/simd.hpp: the vector back-ends: one source (simd/kernels.inl) over the words of each instruction set.
#pragma once
#include "gpu/cpu/limits.hpp"
#include "gpu/ops.hpp"

namespace quadrant::gpu::simd {

const ops_table& avx2_ops();
const ops_table& avx512_ops();
const limit_fns& avx2_limits();
const limit_fns& avx512_limits();

} // namespace quadrant::gpu::simd
