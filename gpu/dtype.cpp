#include "gpu/dtype.hpp"

namespace quadrant::gpu {

std::optional<precision> parse_precision(std::string_view word) noexcept {
  for (auto p : {precision::f32, precision::bf16, precision::w8a8, precision::w4a8})
    if (word == to_string(p)) return p;
  return std::nullopt;
}

std::string_view to_string(precision p) noexcept {
  switch (p) {
  case precision::f32: return "f32";
  case precision::bf16: return "bf16";
  case precision::w8a8: return "w8a8";
  case precision::w4a8: return "w4a8";
  }
  return "?";
}

std::string_view to_string(dtype t) noexcept {
  switch (t) {
  case dtype::f32: return "f32";
  case dtype::bf16: return "bf16";
  case dtype::i8: return "i8";
  case dtype::i4: return "i4";
  case dtype::i32: return "i32";
  }
  return "?";
}

} // namespace quadrant::gpu
