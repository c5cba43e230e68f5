// actors/prefill_planner.hpp: the actor around scheduler::prefill_planner: prompts in, micro-batches out to every shard
// of the pipeline.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "scheduler/prefill_planner.hpp"

namespace quadrant::actors {

class prefill_planner : public observed<planner_actor::base> {
public:
  prefill_planner(caf::actor_config& config, std::shared_ptr<const cluster_plan> plan);
  behavior_type make_behavior() override;
  void on_exit() override { prompts_.clear(), shards_.clear(); }

private:
  struct prompt {
    std::uint32_t attempt;
    msg::prefill message;
    handle request, transfer;
  };
  void plan_all();
  static void write_place(wire::MicroBatch::Chunk::Builder to, const scheduler::chunk& c, wire::KvPlace::Reader all);

  std::shared_ptr<const cluster_plan> plan_;
  scheduler::prefill_planner core_;
  std::map<scheduler::request_id, prompt> prompts_;
  std::vector<shard_actor> shards_;
};

} // namespace quadrant::actors
