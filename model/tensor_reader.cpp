#include "model/tensor_reader.hpp"

#include <bit>
#include <cstring>
#include <limits>

#include "gpu/math.hpp"

namespace quadrant::model {
namespace {

float from_f16(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float tiny = float(fraction) * 0x1p-24f;
  return sign == 0 ? tiny : -tiny;
}

constexpr std::int64_t fp8_block = 128;

/// e4m3 without infinities: 0x7f and 0xff are NaN.
float from_e4m3(std::uint8_t b) {
  const int exponent = b >> 3 & 15, fraction = b & 7;
  if (exponent == 15 && fraction == 7) return std::numeric_limits<float>::quiet_NaN();
  const float size = exponent == 0
                         ? float(fraction) * 0x1p-9f
                         : float(8 + fraction) * std::bit_cast<float>(std::uint32_t(exponent - 10 + 127) << 23);
  return (b & 0x80) == 0 ? size : -size;
}

template <class Word>
Word load(const std::byte* from, std::int64_t index) {
  Word word;
  std::memcpy(&word, from + index * std::int64_t(sizeof(Word)), sizeof(Word));
  return word;
}

failure wrong_tensor(const std::string& name, const std::string& what) {
  return {errc::invalid_argument, "tensor " + name + ": " + what};
}

bool is_float(tensor_type t) { return t == tensor_type::f32 || t == tensor_type::bf16 || t == tensor_type::f16; }

/// Elements [first, first + count) of a float tensor.
void read_floats(const tensor_bytes& tensor, std::int64_t first, std::int64_t count, float* to) {
  const auto* bytes = tensor.data.data() + first * std::int64_t(size_of(tensor.type));
  switch (tensor.type) {
  case tensor_type::f32: std::memcpy(to, bytes, std::size_t(count) * sizeof(float)); break;
  case tensor_type::bf16:
    for (std::int64_t i = 0; i < count; ++i) to[i] = gpu::from_bf16(load<std::uint16_t>(bytes, i));
    break;
  default:
    for (std::int64_t i = 0; i < count; ++i) to[i] = from_f16(load<std::uint16_t>(bytes, i));
  }
}

result<tensor_bytes> find_matrix(const checkpoint_files& files, const std::string& name, std::int64_t rows,
                                 std::int64_t cols) {
  QUADRANT_TRY(auto tensor, files.find(name));
  if (tensor.shape.size() != 2 || tensor.shape[0] < rows || tensor.shape[1] != cols)
    return wrong_tensor(name, "expected at least " + std::to_string(rows) + " rows of " + std::to_string(cols));
  return tensor;
}

} // namespace

void stored_matrix::read(std::int64_t first, std::int64_t count, float* to) const {
  if (fp8_) {
    std::vector<float> scale(static_cast<std::size_t>((in_ + fp8_block - 1) / fp8_block));
    for (auto row = first; row < first + count; ++row) {
      read_floats(scale_, row / fp8_block * std::int64_t(scale.size()), std::int64_t(scale.size()), scale.data());
      for (std::int64_t i = 0; i < in_; ++i)
        *to++ = from_e4m3(load<std::uint8_t>(values_.data.data(), row * in_ + i)) * scale[std::size_t(i / fp8_block)];
    }
    return;
  }
  if (!is_int4()) return read_floats(values_, first * in_, count * in_, to);
  std::vector<std::uint8_t> q(static_cast<std::size_t>(count * in_));
  std::vector<float> scale(std::size_t(count * in_ / group_));
  read_int4(first, count, q.data(), scale.data());
  for (std::int64_t i = 0; i < count * in_; ++i)
    to[i] = float(int(q[std::size_t(i)]) - 8) * scale[std::size_t(i / group_)];
}

void stored_matrix::read_int4(std::int64_t first, std::int64_t count, std::uint8_t* q, float* scale) const {
  for (std::int64_t i = first * in_ / 8; i < (first + count) * in_ / 8; ++i) {
    const auto word = load<std::uint32_t>(values_.data.data(), i);
    for (int nibble = 0; nibble < 8; ++nibble) *q++ = (word >> (4 * nibble)) & 15u;
  }
  const auto groups = in_ / group_;
  read_floats(scale_, first * groups, count * groups, scale);
}

std::span<const std::byte> stored_matrix::bytes(std::int64_t first, std::int64_t count) const {
  const auto row = is_int4() ? in_ / 2 : in_ * std::int64_t(size_of(values_.type));
  return values_.data.subspan(std::size_t(first * row), std::size_t(count * row));
}

result<std::vector<float>> tensor_reader::vector(const std::string& name, std::int64_t size) const {
  QUADRANT_TRY(auto tensor, files_.find(name));
  if (tensor.shape.size() != 1 || tensor.shape[0] != size)
    return wrong_tensor(name, "expected " + std::to_string(size) + " numbers");
  if (!is_float(tensor.type)) return wrong_tensor(name, "expected f32, f16 or bf16");
  std::vector<float> values(static_cast<std::size_t>(size));
  read_floats(tensor, 0, size, values.data());
  return values;
}

result<stored_matrix> tensor_reader::matrix(const std::string& linear, std::int64_t rows, std::int64_t in) const {
  if (files_.find(linear + ".weight_packed").ok()) return int4_matrix(linear, rows, in);
  const auto name = linear + ".weight";
  stored_matrix m;
  QUADRANT_TRY(m.values_, find_matrix(files_, name, rows, in));
  m.in_ = in;
  if (m.values_.type == tensor_type::f8_e4m3) {
    QUADRANT_TRY_VOID(fp8_scales(name, m));
    return m;
  }
  if (!is_float(m.values_.type)) return wrong_tensor(name, "expected f32, f16, bf16, or f8_e4m3 with its scales");
  return m;
}

result<void> tensor_reader::fp8_scales(const std::string& name, stored_matrix& m) const {
  const auto scale_name = name + "_scale_inv";
  QUADRANT_TRY(m.scale_, files_.find(scale_name));
  const auto blocks = [](std::int64_t n) { return (n + fp8_block - 1) / fp8_block; };
  const auto rows = blocks(m.values_.shape[0]), cols = blocks(m.in_);
  if (m.scale_.shape.size() != 2 || m.scale_.shape[0] != rows || m.scale_.shape[1] != cols)
    return wrong_tensor(scale_name, "expected [" + std::to_string(rows) + ", " + std::to_string(cols) +
                                        "]: one scale for each block of 128 x 128");
  if (!is_float(m.scale_.type)) return wrong_tensor(scale_name, "expected f32, f16 or bf16");
  m.fp8_ = true;
  return {};
}

result<stored_matrix> tensor_reader::int4_matrix(const std::string& linear, std::int64_t rows, std::int64_t in) const {
  const auto packed_name = linear + ".weight_packed", scale_name = linear + ".weight_scale";
  for (const auto* other : {".weight_g_idx", ".weight_zero_point"})
    if (files_.find(linear + other).ok())
      return failure{errc::unavailable, "tensor " + linear + other + ": int4 with it is not known yet"};
  stored_matrix m;
  QUADRANT_TRY(m.values_, find_matrix(files_, packed_name, rows, in / 8));
  if (m.values_.type != tensor_type::i32 || in % 8 != 0)
    return wrong_tensor(packed_name, "expected i32 words of 8 nibbles");
  QUADRANT_TRY(m.scale_, files_.find(scale_name));
  const auto& shape = m.scale_.shape;
  if (shape.size() != 2 || shape[0] < rows || shape[1] < 1 || in % shape[1] != 0)
    return wrong_tensor(scale_name, "its shape does not fit " + packed_name);
  if (!is_float(m.scale_.type)) return wrong_tensor(scale_name, "expected f32, f16 or bf16");
  m.in_ = in;
  m.group_ = std::int32_t(in / shape[1]);
  return m;
}

} // namespace quadrant::model
