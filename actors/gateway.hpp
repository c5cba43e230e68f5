// actors/gateway.hpp: the front door of a process: makes a request actor for each request, and knows which are live.
#pragma once
#include <map>
#include <memory>
#include <optional>

#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "actors/request.hpp"
#include "actors/token_sink.hpp"

namespace quadrant::actors {

using sink_ref = std::shared_ptr<token_sink>; ///< never leaves the process

using gateway_actor = caf::typed_actor<takes<msg::request_spec, sink_ref>, takes<cancel_atom, std::uint64_t>, takes<msg::worker_down>,
                                       takes<msg::view, handles>>;

class gateway : public observed<gateway_actor::base> {
public:
  gateway(caf::actor_config& config, std::shared_ptr<const cluster_plan> plan, router_actor router, planner_actor planner);
  behavior_type make_behavior() override;

private:
  serving_view around_;
  bool serving_ = false;
  std::map<std::uint64_t, request_actor> live_;
  std::map<caf::actor_addr, std::uint64_t> ids_;
};

} // namespace quadrant::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(quadrant::actors::sink_ref)
