// actors/kv_transfer.hpp: the hand-over of one request's KV from its prefill pipeline to its decode replica.
//
//   moving ─▶ done        every slice of every layer and KV head is at every decode rank that holds it
//      └────▶ failed      a slice could not be sent, or the request is over
//   then, when the request is over: draining, until no slice is on the way, from no shard that lives
//
// Blocks leave layer by layer and chunk by chunk, while later chunks still compute: a full block when it is sealed, the
// last open one at the end. It owns both ends' blocks until its one terminal state: it, not the request, tells planner
// and decode worker to forget, and only when no slice is on the way. At most `window` transfers a shard are on the way;
// the rest wait here.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "scheduler/kv_split.hpp"

namespace quadrant::actors {

class kv_transfer : public observed<kv_transfer_actor::base> {
public:
  struct order {
    std::uint64_t request = 0;
    std::uint32_t attempt = 0;
    std::shared_ptr<const cluster_plan> plan;
    msg::view view;
    handles workers;
    std::int32_t prompt_tokens = 0;
    std::vector<std::int32_t> decode_blocks;
    scheduler::kv_split decode_split; ///< which of the ranks that share heads holds a block
    request_actor owner;
    planner_actor planner;
    decode_actor decode;
  };
  static constexpr int window = 16;

  kv_transfer(caf::actor_config& config, order o);
  behavior_type make_behavior() override;
  void on_exit() override { order_ = {}; } ///< it holds its owner, who holds it

private:
  struct shard_state {
    std::set<std::pair<std::uint32_t, std::int32_t>> stored; ///< (layer, first position) of what is queued or sent
    std::int64_t rows = 0;                                   ///< stored, over all layers
    std::deque<std::pair<msg::kv_send, std::int32_t>> queue; ///< and the decode rank that it goes to
    int on_the_way = 0;
  };
  struct ticket {
    std::uint32_t row;    ///< of the shard that sends
    std::int32_t to_rank; ///< of decode
  };
  void queue_slices(const msg::kv_ready& message);
  void send_window(std::uint32_t row);
  void sent(const msg::kv_sent& message);
  [[nodiscard]] failure name_the_lost(std::int32_t decode_rank, const failure& why) const;
  void finish_if_done();
  void fail(const failure& why);
  void forget_both();
  void lost(const caf::actor_addr& shard);

  order order_;
  std::map<std::uint32_t, shard_state> shards_; ///< by row of the view
  std::map<std::uint64_t, ticket> tickets_;     ///< on the way
  std::uint64_t next_ticket_ = 1;
  bool told_ = false, over_ = false;
};

} // namespace quadrant::actors
