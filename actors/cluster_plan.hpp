// actors/cluster_plan.hpp: what a topology means for one model: which worker is who, how large its memory is, whom it
// talks to. Every process computes the same plan from the same topology and model; only addresses come from the view.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/landing.hpp"
#include "actors/slot_fabric.hpp"
#include "config/result.hpp"
#include "config/topology.hpp"
#include "gpu/dtype.hpp"
#include "model/frame.hpp"
#include "model/shard.hpp"

namespace quadrant::actors {

enum class role : std::uint8_t { prefill, decode, prefill_experts, decode_experts };

/// A worker's name, taken apart: prefill.<pp>.<tp>, decode.<tp>, experts.prefill.<ep>, experts.decode.<ep>.
struct worker_id {
  role kind = role::prefill;
  std::int32_t stage = 0, rank = 0;
  static std::optional<worker_id> parse(std::string_view name);
};

class cluster_plan {
public:
  /// Errors  errc::invalid_argument: the model does not divide as the topology asks
  static result<cluster_plan> make(const topology& t, const model::model_config& config, gpu::numerics numerics);

  [[nodiscard]] const topology& layout() const noexcept { return topology_; }
  [[nodiscard]] const model::model_config& config() const noexcept { return config_; }
  [[nodiscard]] const gpu::numerics& numerics() const noexcept { return numerics_; }
  [[nodiscard]] const std::vector<std::string>& workers() const noexcept { return names_; } ///< the rows of a view
  [[nodiscard]] std::uint32_t row_of(worker_id id) const;

  [[nodiscard]] model::shard_spec shard_of(worker_id id) const; ///< attention workers
  [[nodiscard]] model::frame_limits frame_of(role kind) const;  ///< of one slot
  /// Rows of logits of a prefill micro-batch: of every position, or of every sample of a request.
  [[nodiscard]] static std::int32_t prefill_outputs(const topology& t);
  [[nodiscard]] std::uint32_t slots_of(role kind) const;            ///< micro-batches of the phase
  [[nodiscard]] attention_landing landing_of(worker_id id) const;   ///< attention workers
  [[nodiscard]] dispatch_landing dispatch_of(role attention) const; ///< of the groups that serve this phase
  [[nodiscard]] std::int32_t num_groups(role attention) const;
  struct expert_range {
    std::int32_t first, end;
  };
  [[nodiscard]] expert_range experts_of(role attention, std::int32_t ep_rank) const;
  [[nodiscard]] std::uint32_t caller_of(worker_id id) const; ///< among the callers of its phase's groups
  /// Threads of a worker's device, as the topology says; 0: it does not.
  [[nodiscard]] int threads_asked(worker_id id) const;
  /// The same, or an equal part of this machine's cores for each of the `local` workers.
  [[nodiscard]] int threads_of(worker_id id, int local) const;

  /// `peers[row]` as the view has them.
  [[nodiscard]] neighbours around(worker_id id, const std::vector<peer>& peers) const;

private:
  topology topology_;
  model::model_config config_;
  gpu::numerics numerics_{};
  std::vector<std::string> names_;
};

} // namespace quadrant::actors
