// model/shard.hpp: which part of a model one attention worker serves.
#pragma once
#include <cstdint>

#include "config/result.hpp"
#include "gpu/dtype.hpp"
#include "gpu/kv_layout.hpp"
#include "model/model_config.hpp"

namespace quadrant::model {

struct shard_spec {
  std::int32_t first_layer = 0, end_layer = 0; ///< [first, end)
  std::int32_t tp_rank = 0, tp = 1;            ///< over heads, output columns and vocabulary
  std::int32_t kv_split = 1;                   ///< so many neighbouring ranks share heads, each with a part of their KV
  bool local_experts = true;                   ///< false: expert groups elsewhere serve the experts

  [[nodiscard]] std::int32_t num_layers() const noexcept { return end_layer - first_layer; }
  [[nodiscard]] std::int32_t kv_rank() const noexcept { return tp_rank % kv_split; } ///< among those that share heads
  [[nodiscard]] bool merges_last() const noexcept { return kv_rank() + 1 == kv_split; }
};

/// Widths of one shard, derived from the model and the spec.
struct shard_shape {
  std::int32_t q_heads, kv_heads;           ///< of this rank; KV heads are replicated where tp > num_kv_heads
  std::int32_t first_q_head, first_kv_head; ///< in the model
  std::int32_t hidden_part, vocab_part;     ///< output columns of this rank
  bool embeds, samples;                     ///< has the first, the last layer
  /// Of the query and key heads that this rank projects: its own, or all where they are normalised together.
  struct head_run {
    std::int32_t first, count;
  };
  head_run projected_q, projected_k;
};

/// Errors  errc::invalid_argument: heads, hidden size or vocabulary do not divide by tp, or tp by kv_split
result<shard_shape> shape_of(const model_config& config, const shard_spec& spec);

/// The KV of a shard with `shape`, in a pool of that many blocks.
gpu::kv_layout kv_layout_of(const model_config& config, const shard_spec& spec, const shard_shape& shape,
                            const gpu::numerics& numerics, std::int32_t kv_blocks);

/// Layers of pipeline stage `rank` of `stages`: as even as can be, earlier stages get the rest.
shard_spec stage_of(const model_config& config, std::int32_t rank, std::int32_t stages);

} // namespace quadrant::model
