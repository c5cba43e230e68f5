// gpu/backend.hpp: which instruction set a CPU device uses.
#pragma once
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "gpu/cpu/limits.hpp"
#include "gpu/ops.hpp"

namespace quadrant::gpu {

enum class isa { scalar, avx2, avx512 };

/// The best back-end this processor can run, or the one that QUADRANT_ISA=scalar|avx2|avx512 names.
/// Errors  errc::invalid_argument: no such word; errc::unavailable: this processor lacks it. The message says which it
/// has.
result<isa> choose_isa();
/// Its ops.
result<const ops_table*> choose_ops();
/// errc::unavailable where the processor lacks it.
result<const ops_table*> ops_for(isa wanted);
std::vector<isa> available_isas(); ///< the best one last
std::string_view to_string(isa i) noexcept;

/// One that this processor has.
const limit_fns& limits_of(isa i);

} // namespace quadrant::gpu
