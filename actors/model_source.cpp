#include "actors/model_source.hpp"

namespace quadrant::actors {

result<std::shared_ptr<model::weight_cache>> open_model(const std::filesystem::path& directory,
                                                        gpu::precision precision) {
  QUADRANT_TRY(auto config, model::read_model_config(directory));
  QUADRANT_TRY(auto files, model::checkpoint_files::open(directory));
  return std::make_shared<model::weight_cache>(std::make_shared<const model::checkpoint_files>(std::move(files)),
                                               std::move(config), gpu::numerics_of(precision));
}

} // namespace quadrant::actors
