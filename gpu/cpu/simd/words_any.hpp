// gpu/cpu/simd/words_any.hpp: what every vocabulary has alike: fetching, and keeping the compiler from keeping.
#pragma once
#include <cstddef>

#include <xmmintrin.h>

#define QUADRANT_WORD [[gnu::always_inline]] inline

namespace quadrant::gpu::simd {
namespace {

QUADRANT_WORD void fetch_early(const void* p) { _mm_prefetch(p, _MM_HINT_T0); }
QUADRANT_WORD void fetch_to_l2(const void* p) { _mm_prefetch(p, _MM_HINT_T1); }
inline constexpr std::ptrdiff_t stream_ahead = 4096; ///< bytes: a DRAM access at the rate of one core

/// The compiler keeps what p points to in memory, and in no register.
template <class T>
QUADRANT_WORD void in_memory(T* p) {
  asm volatile("" : : "r"(p) : "memory");
}

} // namespace
} // namespace quadrant::gpu::simd
