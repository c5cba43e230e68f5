// model/weights.hpp: the packed weights of a shard, loaded once a process and shared by the workers in it.
// A matrix is packed by all cores that the process may use, a panel of 16 rows a thread at a time, and its pages of the
// file are let go: what stays is the packed size.
// Threads loading: any, one at a time per cache; reading: any
// Errors  errc::corrupt, errc::invalid_argument: names the tensor, what it is and what was expected
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/result.hpp"
#include "gpu/packed_weight.hpp"
#include "gpu/team.hpp"
#include "model/model_config.hpp"
#include "model/safetensors.hpp"
#include "model/shard.hpp"

namespace quadrant::model {

using weight_ref = std::shared_ptr<const gpu::packed_weight>;
using vector_ref = std::shared_ptr<const std::vector<float>>;

/// Inputs that share a scale where a matrix is quantised at load (rule 6).
constexpr std::int32_t weight_group_for(std::int32_t in) noexcept {
  return in % 128 == 0 ? 128 : in % 64 == 0 ? 64 : in;
}

/// The FFNs of one layer: its experts, or the one of a dense layer.
struct ffn_weights {
  std::vector<weight_ref> gate_up, down;
  std::vector<const gpu::packed_weight*> gate_up_ptr, down_ptr; ///< as the grouped op wants them
};

/// Of latent attention (model_config::latent), for the heads of this rank.
struct latent_weights {
  weight_ref q_a;               ///< to the query's low rank; null where it has none
  vector_ref q_norm, kv_norm;   ///< of the low ranks
  weight_ref q_plain, q_turned; ///< what of each head does not turn, head by head; what does
  weight_ref kv_a;              ///< the latent, then what turns of the key
  // kv_b_proj of each head, taken apart: [rank, plain] carries a query into the latent's space, [value, rank] what was
  // attended out of it. Kept in bf16 (f32 profile: f32).
  std::vector<weight_ref> key, value;
  std::vector<const gpu::packed_weight*> key_ptr, value_ptr;
};

struct layer_weights {
  vector_ref input_norm, post_norm, q_norm, k_norm; ///< q_norm, k_norm: null where the family has none
  weight_ref qkv;                                   ///< q rows, then k, then v: shard_shape says which heads
  latent_weights latent;                            ///< in its place, where the family has it
  weight_ref o;                                     ///< this rank's output columns
  weight_ref gate;                                  ///< null in a dense layer
  vector_ref router_bias;                           ///< may be null
  ffn_weights shared;                               ///< the expert that serves all, or none
  weight_ref shared_gate;                           ///< null where it always counts
};

struct attention_weights {
  std::vector<layer_weights> layers; ///< of the shard
  weight_ref embedding;              ///< [vocab, hidden] rows, f32 or bf16, unpacked; null unless the shard embeds
  vector_ref final_norm;             ///< null unless the shard samples
  weight_ref head;                   ///< this rank's vocabulary rows; null unless the shard samples
};

/// Reads a checkpoint into packed weights; the same weight asked for twice is the same object.
class weight_cache {
public:
  weight_cache(std::shared_ptr<const checkpoint_files> files, model_config config, gpu::numerics numerics);

  /// The threads that pack, for as long as somebody holds them.
  [[nodiscard]] std::shared_ptr<gpu::team> packers();
  result<attention_weights> attention(const shard_spec& spec);
  /// Experts [first, end) of a MoE layer (model's numbering), or the whole FFN of a dense one (0, 1).
  result<ffn_weights> ffn(std::int32_t layer, std::int32_t first, std::int32_t end);

  std::shared_ptr<const rope_tables> rope();

  [[nodiscard]] const model_config& config() const noexcept { return config_; }
  [[nodiscard]] const gpu::numerics& numerics() const noexcept { return numerics_; }
  /// H(configuration, checkpoint content, profile, rules version): whose KV may meet whose. Of a checkpoint of more than
  /// 1 GiB, content means 64 pieces of 4 KiB of each tensor.
  [[nodiscard]] std::uint64_t numerics_id() const noexcept { return numerics_id_; }

private:
  struct rows { ///< a run of output rows of a named tensor
    std::string name;
    std::int32_t first, count;
  };
  /// A bias, where there is one, comes with it; `biased` says that there must be one.
  result<weight_ref> linear(const std::vector<rows>& parts, std::int32_t in, gpu::dtype type, bool biased = false);
  result<latent_weights> latent(const std::string& at, const shard_shape& shape);
  /// Rows [first, first + in) of a matrix of `out` columns, turned: [out, in].
  result<weight_ref> turned(const std::string& name, std::int32_t first, std::int32_t in, std::int32_t out,
                            gpu::dtype type);
  /// Of numbers that stay exact: stored in bf16 they are so in half the bytes.
  result<weight_ref> exact_linear(const std::string& name, std::int32_t out, std::int32_t in);
  /// One FFN more.
  result<void> add_ffn(ffn_weights& to, const std::string& gate, const std::string& up, const std::string& down,
                       std::int32_t width, bool biased = false);
  result<weight_ref> remember(const std::string& key, const std::function<result<weight_ref>(gpu::team&)>& make);
  result<vector_ref> vector(const std::string& name, std::int32_t size);
  result<weight_ref> embedding();

  std::shared_ptr<const checkpoint_files> files_;
  model_config config_;
  gpu::numerics numerics_;
  std::uint64_t numerics_id_;
  std::mutex mutex_, packers_mutex_;
  std::map<std::string, std::weak_ptr<const gpu::packed_weight>> known_;
  std::weak_ptr<const rope_tables> rope_;
  std::weak_ptr<gpu::team> packers_;
};

} // namespace quadrant::model
