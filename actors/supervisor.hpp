// actors/supervisor.hpp: membership: who has joined, what each runs, and the view that everybody works by.
//
//   waiting ─all joined─▶ assigning ─all loaded─▶ connecting ─all have the view─▶ serving ─a worker dies─▶ degraded
//
// Status is gathered here: every actor of every process, the books of planner and decode, gauges with their worker's
// name. A lost worker ends what depends on it: router and gateway are told, and every live request fails with the
// worker's name.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"

namespace quadrant::actors {

class supervisor : public observed<supervisor_actor::base> {
public:
  struct charge {
    std::shared_ptr<const cluster_plan> plan;
    std::string topology_text, model, precision, token;
    planner_actor planner;
    router_actor router;
    std::function<void(const msg::worker_down&)> lost; ///< told of each lost worker
  };
  supervisor(caf::actor_config& config, charge c);
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  struct node {
    node_actor agent;
    std::uint32_t pid = 0;
    std::vector<std::string> runs;
    bool assigned = false, lost = false;
  };
  struct worker {
    std::string node;
    handle actor;
    msg::assigned from; ///< the message that describes it
    unsigned index = 0; ///< in that message
  };
  void joined(const msg::join& message, const handle& agent);
  void assign(const std::string& name);
  void took(const std::string& name, const msg::assigned& reply, const handles& workers);
  void connect();
  void down(const caf::down_msg& message);
  void lose(const std::string& name, const std::string& reason);
  caf::result<msg::status_report> gather_status();
  void give_up(const failure& why);
  void tell_waiting();

  charge charge_;
  std::map<std::string, node> nodes_;
  std::map<std::string, worker> workers_;
  msg::view view_;
  handles view_handles_;
  std::size_t unconnected_ = 0;
  std::uint64_t numerics_id_ = 0; ///< the same in every process; 0: none has loaded yet
  bool serving_ = false;
  std::optional<failure> problem_;
  std::vector<caf::typed_response_promise<msg::view, handles>> waiting_;
};

} // namespace quadrant::actors
