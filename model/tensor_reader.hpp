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

/// Rows of an int4 matrix as the checkpoint quantised them.
struct int4_rows {
  std::vector<std::uint8_t> q; ///< [rows][in], 0..15, 8 means 0
  std::vector<float> scale;    ///< [rows][in / group]
  std::int32_t group = 0;
};

class tensor_reader {
public:
  explicit tensor_reader(const checkpoint_files& files) : files_(files) {}

  /// A vector [size].
  [[nodiscard]] result<std::vector<float>> vector(const std::string& name, std::int64_t size) const;
  /// Is `linear`.weight stored as int4?
  [[nodiscard]] bool is_int4(const std::string& linear) const;
  /// Rows [first, first + count) of `linear`.weight [*, in], dequantised if need be, appended to `to`.
  result<void> append_rows(const std::string& linear, std::int64_t first, std::int64_t count, std::int64_t in,
                           std::vector<float>& to) const;
  /// The same rows in int4, appended to `to`; all rows of one `to` have one group size.
  result<void> append_int4(const std::string& linear, std::int64_t first, std::int64_t count, std::int64_t in,
                           int4_rows& to) const;

private:
  const checkpoint_files& files_;
};

} // namespace quadrant::model
