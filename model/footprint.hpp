// model/footprint.hpp: what a model takes, by its shapes alone: parameters, packed weights, KV.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "gpu/dtype.hpp"
#include "model/family.hpp"
#include "model/model_config.hpp"
#include "model/safetensors.hpp"

namespace quadrant::model {

struct parameter_count {
  std::int64_t total = 0;
  std::int64_t active = 0; ///< all but the experts that a token is not sent to
};
parameter_count count_parameters(const model_config& config);

/// Bytes of a matrix that is packed at load, its scales with it.
double packed_bytes(gpu::dtype type, double out, std::int32_t in);

/// Of an expert or a dense layer: what W4A8 has in int4.
bool is_ffn_matrix(const tensor_shape& t);

struct footprint {
  double weights = 0;      ///< bytes, of all of the model on one worker
  double kv_per_token = 0; ///< bytes, over all layers
};
footprint footprint_of(const model_config& config, const gpu::numerics& numerics);

/// What is wrong with a checkpoint's tensors, a line each; the first few of them.
std::vector<std::string> check_tensors(const checkpoint_files& files, const model_config& config, std::size_t most = 5);

} // namespace quadrant::model
