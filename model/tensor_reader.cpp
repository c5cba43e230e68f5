#include "model/tensor_reader.hpp"

#include <bit>
#include <cstring>

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

template <class Word>
Word load(const std::byte* from, std::int64_t index) {
  Word word;
  std::memcpy(&word, from + index * std::int64_t(sizeof(Word)), sizeof(Word));
  return word;
}

failure wrong_tensor(const std::string& name, const std::string& what) {
  return {errc::invalid_argument, "tensor " + name + ": " + what};
}

/// Elements [first, first + count) of a float tensor.
result<void> append_floats(const tensor_bytes& tensor, const std::string& name, std::int64_t first, std::int64_t count,
                           std::vector<float>& to) {
  const auto* bytes = tensor.data.data();
  to.reserve(to.size() + std::size_t(count));
  for (std::int64_t i = first; i < first + count; ++i) switch (tensor.type) {
    case tensor_type::f32: to.push_back(load<float>(bytes, i)); break;
    case tensor_type::bf16: to.push_back(gpu::from_bf16(load<std::uint16_t>(bytes, i))); break;
    case tensor_type::f16: to.push_back(from_f16(load<std::uint16_t>(bytes, i))); break;
    default: return wrong_tensor(name, "expected f32, f16 or bf16");
    }
  return {};
}

result<tensor_bytes> find_matrix(const checkpoint_files& files, const std::string& name, std::int64_t rows,
                                 std::int64_t cols) {
  QUADRANT_TRY(auto tensor, files.find(name));
  if (tensor.shape.size() != 2 || tensor.shape[0] < rows || tensor.shape[1] != cols)
    return wrong_tensor(name, "expected at least " + std::to_string(rows) + " rows of " + std::to_string(cols));
  return tensor;
}

} // namespace

result<std::vector<float>> tensor_reader::vector(const std::string& name, std::int64_t size) const {
  QUADRANT_TRY(auto tensor, files_.find(name));
  if (tensor.shape.size() != 1 || tensor.shape[0] != size)
    return wrong_tensor(name, "expected " + std::to_string(size) + " numbers");
  std::vector<float> values;
  QUADRANT_TRY_VOID(append_floats(tensor, name, 0, size, values));
  return values;
}

bool tensor_reader::is_int4(const std::string& linear) const { return files_.find(linear + ".weight_packed").ok(); }

result<void> tensor_reader::append_rows(const std::string& linear, std::int64_t first, std::int64_t count,
                                        std::int64_t in, std::vector<float>& to) const {
  if (!is_int4(linear)) {
    const auto name = linear + ".weight";
    auto tensor = find_matrix(files_, name, first + count, in);
    if (!tensor) return tensor.error();
    return append_floats(*tensor, name, first * in, count * in, to);
  }
  int4_rows rows;
  QUADRANT_TRY_VOID(append_int4(linear, first, count, in, rows));
  const auto groups = in / rows.group;
  for (std::int64_t r = 0; r < count; ++r)
    for (std::int64_t k = 0; k < in; ++k)
      to.push_back(float(int(rows.q[std::size_t(r * in + k)]) - 8) *
                   rows.scale[std::size_t(r * groups + k / rows.group)]);
  return {};
}

result<void> tensor_reader::append_int4(const std::string& linear, std::int64_t first, std::int64_t count,
                                        std::int64_t in, int4_rows& to) const {
  const auto packed_name = linear + ".weight_packed", scale_name = linear + ".weight_scale";
  for (const auto* other : {".weight_g_idx", ".weight_zero_point"})
    if (files_.find(linear + other).ok())
      return failure{errc::unavailable, "tensor " + linear + other + ": int4 with it is not known yet"};
  auto packed = find_matrix(files_, packed_name, first + count, in / 8);
  if (!packed) return packed.error();
  if (packed->type != tensor_type::i32 || in % 8 != 0)
    return wrong_tensor(packed_name, "expected i32 words of 8 nibbles");
  auto scale = files_.find(scale_name);
  if (!scale) return scale.error();
  if (scale->shape.size() != 2 || scale->shape[0] < first + count || scale->shape[1] < 1 || in % scale->shape[1] != 0)
    return wrong_tensor(scale_name, "its shape does not fit " + packed_name);
  const auto group = std::int32_t(in / scale->shape[1]);
  if (to.group != 0 && to.group != group)
    return wrong_tensor(scale_name, "its group size differs from its neighbours'");
  to.group = group;
  for (std::int64_t i = first * in / 8; i < (first + count) * in / 8; ++i) {
    const auto word = load<std::uint32_t>(packed->data.data(), i);
    for (int nibble = 0; nibble < 8; ++nibble) to.q.push_back((word >> (4 * nibble)) & 15u);
  }
  const auto groups = scale->shape[1];
  return append_floats(*scale, scale_name, first * groups, count * groups, to.scale);
}

} // namespace quadrant::model
