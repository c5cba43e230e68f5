// actors/prefill_shard.hpp: one stage and tensor-parallel rank of a prefill pipeline. It runs the planner's steps in
// order, and sends each layer's KV as it is stored.
#pragma once
#include <memory>

#include "actors/attention_host.hpp"
#include "actors/interfaces.hpp"
#include "actors/kv_sender.hpp"
#include "actors/observed.hpp"

namespace quadrant::actors {

class prefill_shard : public observed<shard_actor::base> {
public:
  /// row: of the view
  prefill_shard(caf::actor_config& config, std::shared_ptr<attention_host> host, std::uint32_t row);
  behavior_type make_behavior() override;
  void on_exit() override { host_.reset(); } ///< its device holds handles of this actor

private:
  void run(const msg::micro_batch& message, const handles& beside);

  std::shared_ptr<attention_host> host_;
  kv_sender sender_;
};

} // namespace quadrant::actors
