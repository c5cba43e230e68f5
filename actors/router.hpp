// actors/router.hpp: lets requests in, and says where they go. With one pipeline and one decode replica the way is
// always the same; what it decides is whether there is room to wait, and whether the cluster can serve at all.
#pragma once
#include <memory>
#include <set>
#include <string>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"

namespace quadrant::actors {

class router : public observed<router_actor::base> {
public:
  router(caf::actor_config& config, std::shared_ptr<const cluster_plan> plan)
      : observed(config, "router"), plan_(std::move(plan)) {}
  behavior_type make_behavior() override;

private:
  std::shared_ptr<const cluster_plan> plan_;
  std::set<std::uint64_t> live_;
  std::string down_; ///< why the cluster cannot serve; empty while it can
};

} // namespace quadrant::actors
