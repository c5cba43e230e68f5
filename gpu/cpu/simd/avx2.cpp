#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/simd.hpp"
#include "gpu/cpu/simd/scratch.hpp"
#include "gpu/cpu/simd/words_avx2.hpp"

#include "gpu/cpu/simd/kernels.inl"

namespace quadrant::gpu::simd {

const ops_table& avx2_ops() {
  static constexpr ops_table table = table_named("avx2");
  return table;
}

const limit_fns& avx2_limits() { return limits_here; }

} // namespace quadrant::gpu::simd
