// actors/gateway.hpp: the front door of a process: makes a request actor for each request, knows which are live, and
// ends those past their deadline. (A timer of each request's own would keep it in memory until the deadline, long after
// its end.)
#pragma once
#include <functional>
#include <map>
#include <memory>

#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "actors/request.hpp"
#include "actors/token_sink.hpp"
#include "config/result.hpp"

namespace quadrant::actors {

using sink_ref = std::shared_ptr<token_sink>; ///< never leaves the process

using gateway_actor =
    caf::typed_actor<takes<msg::request_spec, sink_ref>, takes<cancel_atom, std::uint64_t>,
                     takes<cancel_atom, std::uint64_t, std::int32_t>, takes<msg::worker_down>, takes<tick_atom>>;

class gateway : public observed<gateway_actor::base> {
public:
  /// opened: called once, on the actor's thread, when the cluster serves or cannot.
  gateway(caf::actor_config& config, std::shared_ptr<const cluster_plan> plan, router_actor router,
          planner_actor planner, supervisor_actor supervisor, std::function<void(result<void>)> opened);
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  struct live {
    request_actor actor;
    caf::actor_clock::time_point deadline;
  };
  void open(const msg::view& view, const handles& workers);
  void tick();

  serving_view around_;
  supervisor_actor supervisor_;
  std::function<void(result<void>)> opened_;
  bool serving_ = false;
  std::map<std::uint64_t, live> live_;
  std::map<caf::actor_addr, std::uint64_t> ids_;
};

} // namespace quadrant::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(quadrant::actors::sink_ref)
