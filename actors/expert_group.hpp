// actors/expert_group.hpp: one expert-parallel rank of a phase: grouped GEMM over the tokens of every caller.
//
//   transport ─▶ inbox ─▶ actor: pending, by layer ─▶ one launch for all that wait for a layer ─▶ device ─▶ rows back
//
// While two launches are on the device, dispatches gather into the next one: that is all the batching there is.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "actors/open_transfers.hpp"
#include "gpu/backend.hpp"
#include "gpu/device.hpp"
#include "model/family.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::actors {

/// One caller's rows of a layer, which lie in the landing memory.
struct dispatch {
  std::uint32_t caller = 0, slot = 0; ///< caller: row of the view
  std::uint64_t ordinal = 0;
  std::uint32_t layer = 0;
  std::vector<std::int32_t> counts; ///< rows for each expert of the group
  transport::address reply_to;
  transport::remote_span out; ///< where the answer's rows go

  /// Errors  errc::corrupt
  static result<dispatch> parse(const msg::arrival& message);
};

/// Memory, device and weights of a group; outlives the actor's messages that are on the device.
class expert_host {
public:
  struct parts {
    std::string name;
    worker_id id;
    std::shared_ptr<const cluster_plan> plan;
    gpu::numerics numerics;
    std::vector<model::ffn_weights> layers; ///< of the whole model; empty for dense layers
    const gpu::ops_table* ops;
    std::shared_ptr<transport::endpoint> endpoint;
    gpu::team_options team;
    std::shared_ptr<gpu::device_pump> pump; ///< null: the device has threads of its own
    std::function<void(failure)> failed;
  };
  explicit expert_host(parts p);
  ~expert_host();

  static constexpr std::uint32_t launches = 2; ///< in flight, each with its own rows and scratch

  [[nodiscard]] const parts& about() const noexcept { return parts_; }
  [[nodiscard]] transport::address address() const noexcept { return self_; }
  [[nodiscard]] transport::remote_span landing() const noexcept { return landing_ref_; }
  [[nodiscard]] gpu::device_times device_times() const { return device_->times(); }
  [[nodiscard]] const dispatch_landing& layout() const noexcept { return layout_; }
  [[nodiscard]] std::uint64_t rows_done() const noexcept { return rows_done_.load(std::memory_order_relaxed); }
  /// Dispatches go to `group` from now on.
  void open(expert_actor group);
  /// Runs `dispatches`, all of one layer, and tells `group` that launch `index` has ended when all rows are back at
  /// their callers.
  void launch(std::uint32_t index, std::vector<dispatch> dispatches, expert_actor group);

private:
  struct scratch {
    gpu::aligned_bytes memory;
    std::vector<std::int32_t> x_row, offsets;
    model::expert_scratch ffn;
    std::byte* out = nullptr;
  };
  void answer(const scratch& s, const std::vector<dispatch>& dispatches, std::uint32_t index,
              const expert_actor& group);

  parts parts_;
  dispatch_landing layout_;
  gpu::aligned_bytes landing_;
  transport::remote_span landing_ref_;
  transport::address self_;
  std::vector<scratch> scratch_;
  std::shared_ptr<gpu::stream> stream_;
  std::atomic<std::uint64_t> rows_done_{0};
  open_transfers open_;
  std::unique_ptr<gpu::device> device_;
};

class expert_group : public observed<expert_actor::base> {
public:
  expert_group(caf::actor_config& config, std::shared_ptr<expert_host> host);
  behavior_type make_behavior() override;
  void on_exit() override { host_.reset(); } ///< its device and inbox hold handles of this actor

private:
  /// Does it fit the landing memory, the layers and the experts of this group, and is it the only one of its slot?
  [[nodiscard]] bool fits(const dispatch& d) const;
  void launch_all();

  std::shared_ptr<expert_host> host_;
  std::map<std::uint32_t, std::vector<dispatch>> pending_; ///< by layer
  std::vector<std::uint32_t> idle_;                        ///< launches not in flight
};

} // namespace quadrant::actors
