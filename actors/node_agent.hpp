// actors/node_agent.hpp: one per process: loads and starts the workers that the supervisor assigns to it, and reports
// its actors. Loading blocks one of the process's two CAF threads for seconds. (A detached actor would have a thread of
// its own, but CAF waits for that at the end, and for ever where a message that never arrived still names the actor.)
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "config/result.hpp"
#include "gpu/device.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::actors {

class node_agent : public observed<node_actor::base> {
public:
  /// supervisor: is joined at once. ended: called when the supervisor is gone, and with errc::cancelled when it, or
  /// somebody here, ends the agent.
  node_agent(caf::actor_config& config, std::string name, supervisor_actor supervisor,
             std::function<void(failure)> ended, std::shared_ptr<gpu::device_pump> pump = nullptr);
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  struct loaded {
    msg::assigned reply;
    handles workers;
  };
  result<loaded> start_workers(const msg::assign& message);

  std::string name_;
  supervisor_actor supervisor_;
  std::function<void(failure)> ended_;
  std::shared_ptr<gpu::device_pump> pump_;
  std::shared_ptr<transport::endpoint> endpoint_;
  handles workers_;
};

} // namespace quadrant::actors
