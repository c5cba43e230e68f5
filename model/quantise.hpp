// model/quantise.hpp: a checkpoint with its FFN matrices in int4, once, instead of at every load.
//
//   for each group of inputs of a row: of a few clips c the one that leaves the least squared error
//     scale = bf16(c * amax / 7), q = round(w / scale) within [-8, 7]
//
// Written as compressed-tensors `pack-quantized`, symmetric; all else as it is stored, fp8 as bf16. What serving
// quantises at load in the same groups has c = 1, so this is never worse.
// Errors  errc::invalid_argument: no matrix can be quantised, or some are already; those of the reader and the writer
// Threads one owner; all cores work
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>

#include "config/result.hpp"

namespace quadrant::model {

/// Of the FFN matrices of one layer, against the weights as they were.
struct layer_error {
  std::int32_t layer = 0;
  std::int64_t weights = 0;
  double relative = 0, unclipped = 0; ///< root of squared error over squared weights; the same with c = 1
};

struct quantise_order {
  std::filesystem::path from, to; ///< directories; `to` is made where it is not there
  std::size_t shard_bytes = std::size_t(1) << 30;
  std::function<void(const layer_error&)> done; ///< a layer is written
};

result<void> quantise_checkpoint(const quantise_order& order);

} // namespace quadrant::model
