// actors/prefill_shard.hpp: one stage and tensor-parallel rank of a prefill pipeline. It runs the planner's steps in
// order, reports each layer's KV as it is stored, and sends slices where a kv_transfer says.
#pragma once
#include <memory>

#include "actors/attention_host.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"

namespace quadrant::actors {

class prefill_shard : public observed<shard_actor::base> {
public:
  /// leader: told when a step has left the last stage (only the last stage's tp_rank 0 tells).
  prefill_shard(caf::actor_config& config, std::shared_ptr<attention_host> host, std::uint32_t row);
  behavior_type make_behavior() override;
  void on_exit() override { host_.reset(); } ///< its device holds handles of this actor

private:
  void run(const msg::micro_batch& message, const handles& beside);
  void send_slices(const msg::kv_send& message);

  std::shared_ptr<attention_host> host_;
  std::uint32_t row_; ///< of the view
};

} // namespace quadrant::actors
