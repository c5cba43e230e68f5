// model/tensor_reader.hpp: named matrices of a checkpoint as f32 rows, whatever form they are stored in.
//
// Knows f32, f16 and bf16 tensors, and compressed-tensors `pack-quantized` int4 (NAME.weight_packed i32 [out, in/8],
// low nibble first along `in`, stored +8; NAME.weight_scale [out, in/group]).
// Threads any
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/result.hpp"
#include "model/safetensors.hpp"

namespace quadrant::model {

/// A matrix that has been found and checked: reading its rows cannot fail.
class stored_matrix {
public:
  /// Are its weights int4? Then `group` inputs share a scale.
  [[nodiscard]] bool is_int4() const noexcept { return group_ != 0; }
  [[nodiscard]] std::int32_t group() const noexcept { return group_; }

  /// Rows [first, first + count) as floats [count][in], dequantised if need be.
  void read(std::int64_t first, std::int64_t count, float* to) const;
  /// The same rows as they are stored: q [count][in] in 0..15, 8 means 0; scale [count][in / group]. is_int4() only.
  void read_int4(std::int64_t first, std::int64_t count, std::uint8_t* q, float* scale) const;
  /// The bytes of those rows: whoever has read them can let go of their pages.
  [[nodiscard]] std::span<const std::byte> bytes(std::int64_t first, std::int64_t count) const;

private:
  friend class tensor_reader;
  tensor_bytes values_; ///< floats, or the packed nibbles
  tensor_bytes scale_;  ///< int4, fp8
  std::int64_t in_ = 0;
  bool fp8_ = false; ///< e4m3 with a scale for each block of 128 x 128
  std::int32_t group_ = 0;
};

class tensor_reader {
public:
  explicit tensor_reader(const checkpoint_files& files) : files_(files) {}

  /// A vector [size].
  [[nodiscard]] result<std::vector<float>> vector(const std::string& name, std::int64_t size) const;
  /// `linear`.weight [at least `rows`, in].
  [[nodiscard]] result<stored_matrix> matrix(const std::string& linear, std::int64_t rows, std::int64_t in) const;

private:
  [[nodiscard]] result<stored_matrix> int4_matrix(const std::string& linear, std::int64_t rows, std::int64_t in) const;
  /// The scales of an fp8 matrix.
  [[nodiscard]] result<void> fp8_scales(const std::string& name, stored_matrix& m) const;

  const checkpoint_files& files_;
};

} // namespace quadrant::model
