// model/bench/model_bench.hpp: tokens a second of a whole model on one device, against what its arithmetic and its bytes
// allow on this machine in the same minute.
//
//   prefill   limit = int8 operations of all linears and of causal attention, at the int8 peak
//   decode    limit = the slower of the same, and of the bytes that a step must read (chosen experts, projections, KV)
//             at the DRAM rate of random pieces as large as an expert
//
// Threads one owner; the model runs on a device of its own
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "gpu/bench/kernel_bench.hpp"
#include "model/weights.hpp"

namespace quadrant::model::bench {

struct model_bench_options {
  gpu::team_options team;
  std::int32_t prompt = 512;                ///< tokens of the prefill
  std::vector<std::int32_t> batches{1, 32}; ///< sequences that decode together
  std::vector<std::int32_t> depths{0, 2048};
  std::function<void(const gpu::bench::measurement&)> measured;
};

/// Errors  errc::invalid_argument: a depth or prompt that the model has no positions for; what loading says
result<void> bench_model(weight_cache& weights, const model_bench_options& options);

/// What one token costs, by the shapes alone; weights as they are quantised at load.
struct token_cost {
  double linear_operations = 0; ///< of all layers: projections, gate, chosen experts
  double head_operations = 0;   ///< of the LM head, which only a sampled position has
  double pair_operations = 0;   ///< of attention, for each position seen
  double always_bytes = 0;      ///< packed weights that any step reads: projections, gates, head
  double expert_bytes = 0;      ///< of one expert of one layer
  double kv_bytes = 0;          ///< read for each position seen
};
token_cost cost_of(const model_config& config, const gpu::numerics& numerics);

} // namespace quadrant::model::bench
