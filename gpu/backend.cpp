#include "gpu/backend.hpp"

#include <cstdlib>
#include <string>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/simd.hpp"

namespace quadrant::gpu {
namespace {

bool has(isa wanted) {
  __builtin_cpu_init();
  switch (wanted) {
  case isa::scalar: return true;
  case isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  case isa::avx512:
    return has(isa::avx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
  }
  return false;
}

} // namespace

std::string_view to_string(isa i) noexcept { return i == isa::scalar ? "scalar" : i == isa::avx2 ? "avx2" : "avx512"; }

std::vector<isa> available_isas() {
  std::vector<isa> list;
  for (const auto i : {isa::scalar, isa::avx2, isa::avx512})
    if (has(i)) list.push_back(i);
  return list;
}

result<const ops_table*> ops_for(isa wanted) {
  if (!has(wanted)) {
    std::string message = std::string("this processor has no ").append(to_string(wanted)) + "; it can run";
    for (const auto i : available_isas()) message.append(" ").append(to_string(i));
    return {errc::unavailable, message};
  }
  switch (wanted) {
  case isa::scalar: return &reference::ops();
  case isa::avx2: return &simd::avx2_ops();
  case isa::avx512: return &simd::avx512_ops();
  }
  return &reference::ops();
}

result<isa> choose_isa() {
  if (const char* asked = std::getenv("QUADRANT_ISA"); asked != nullptr && *asked != '\0') {
    for (const auto i : {isa::scalar, isa::avx2, isa::avx512})
      if (asked == to_string(i)) {
        if (const auto there = ops_for(i); !there) return there.error();
        return i;
      }
    return {errc::invalid_argument, std::string("QUADRANT_ISA must be scalar, avx2 or avx512, not ") + asked};
  }
  return available_isas().back();
}

result<const ops_table*> choose_ops() {
  QUADRANT_TRY(const auto best, choose_isa());
  return ops_for(best);
}

const limit_fns& limits_of(isa i) {
  switch (i) {
  case isa::scalar: return reference::limits();
  case isa::avx2: return simd::avx2_limits();
  case isa::avx512: return simd::avx512_limits();
  }
  return reference::limits();
}

} // namespace quadrant::gpu
