// model/stored_quantisation.hpp: how the linears of a checkpoint are stored where they are not plain floats.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "config/result.hpp"

namespace quadrant::model {

/// How the linears of a compressed-tensors `pack-quantized` checkpoint are stored.
struct stored_quantisation {
  std::int32_t bits = 4;
  std::int32_t group_size = 0;     ///< inputs per scale; 0: one scale per output row
  bool symmetric = true;           ///< no zero points
  std::vector<std::string> ignore; ///< linears left in floating point: a name, or "re:" and a regex
};

/// quantization_config of a config.json, which `name` is the path of; none where there is none.
/// Errors  errc::unavailable: a form that is not known yet; errc::invalid_argument
result<std::optional<stored_quantisation>> quantisation_of(const nlohmann::json& config, std::string_view name);

} // namespace quadrant::model
