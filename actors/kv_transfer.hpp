// actors/kv_transfer.hpp: the ledger of one request's hand-over: the KV that its prefill pipeline makes, at its decode
// replica.
//
//   moving ─▶ done        every position of every layer is at the decode ranks that hold it
//      └────▶ failed      it could not be sent, or the prompt cannot be computed
//   then, when the request is over: draining, until no slice is on the way, from no shard that lives
//
// The shards send by themselves, layer by layer and chunk by chunk, while later chunks still compute (kv_sender), and the
// decode ranks count by themselves what has arrived; nobody waits for this actor. It owns both ends' blocks until its one
// terminal state: it, not the request, tells planner and decode worker to forget, and only when no slice is on the way.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"

namespace quadrant::actors {

class kv_transfer : public observed<kv_transfer_actor::base> {
public:
  struct order {
    std::uint64_t request = 0;
    std::uint32_t attempt = 0;
    std::shared_ptr<const cluster_plan> plan;
    handles workers;
    std::int32_t prompt_tokens = 0;
    request_actor owner;
    planner_actor planner;
    decode_actor decode;
  };

  kv_transfer(caf::actor_config& config, order o);
  behavior_type make_behavior() override;
  void on_exit() override { order_ = {}; } ///< it holds its owner, who holds it

private:
  struct shard_state {
    std::set<std::pair<std::uint32_t, std::int32_t>> sent; ///< (layer, first position)
    std::int64_t rows = 0;                                 ///< sent, over all layers
    std::int64_t rows_due = 0;
    bool halted = false;
  };
  void sent(const msg::kv_sent& message);
  void over();
  void drained(std::uint32_t row);
  void fail(const failure& why);

  order order_;
  std::map<std::uint32_t, shard_state> shards_; ///< by row of the view
  bool done_ = false, failed_ = false, over_ = false;
};

} // namespace quadrant::actors
