// actors/model_source.hpp: the checkpoint that a process serves, opened once: configuration, weights, identity.
#pragma once
#include <filesystem>
#include <memory>

#include "config/result.hpp"
#include "gpu/dtype.hpp"
#include "model/weights.hpp"

namespace quadrant::actors {

/// Opens `directory` for serving in `precision`.
result<std::shared_ptr<model::weight_cache>> open_model(const std::filesystem::path& directory,
                                                        gpu::precision precision);

} // namespace quadrant::actors
