// model/family.hpp: one attention worker's part of a model, ready to run; the tensors that its checkpoint has.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "config/result.hpp"
#include "model/step_program.hpp"
#include "model/weights.hpp"

namespace quadrant::model {

/// One attention worker's part of a model: program, weights, widths. Immutable; shared by its micro-batch slots.
struct shard {
  model_config config;
  gpu::numerics numerics;
  shard_spec spec;
  shard_shape shape;
  gpu::kv_layout kv;
  attention_weights weights;
  std::vector<ffn_weights> ffn; ///< per layer of the shard; empty entries where expert groups serve it
  std::shared_ptr<const rope_tables> rope;
  step_program program;

  /// Share of `tokens` rows that this rank routes: [first, end).
  struct row_share {
    std::int32_t first, end, part;
  };
  [[nodiscard]] row_share share_of(std::int32_t tokens) const noexcept;
};

/// Loads the weights of `spec` and writes its program, for a KV pool of that many blocks.
result<std::shared_ptr<const shard>> load_shard(weight_cache& weights, const shard_spec& spec, std::int32_t kv_blocks);

/// A tensor of a checkpoint as its family names it.
struct tensor_shape {
  std::string name;
  std::vector<std::int64_t> shape;
  bool is_norm = false; ///< weights of a norm: around 1
};

/// All tensors of a checkpoint of this configuration, in the order of the forward pass.
std::vector<tensor_shape> tensors_of(const model_config& config);

/// y = FFN of each row with the expert it is sorted under; rows are rounded to the profile's expert_row type.
/// x_row: row r reads x[x_row[r]] (null: r). offsets [num_experts + 1]. out [rows, hidden].
void run_expert_ffn(const gpu::ops_table& ops, gpu::team& team, const gpu::numerics& numerics,
                    const ffn_weights& weights, gpu::act_view x, const std::int32_t* x_row, const std::int32_t* offsets,
                    const expert_scratch& scratch, std::byte* out);

} // namespace quadrant::model
