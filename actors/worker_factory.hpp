// actors/worker_factory.hpp: loads workers of one process and starts their actors: checkpoint, plan and endpoint are
// opened once.
// Threads one owner; starting a worker reads its weights, which takes seconds
#pragma once
#include <memory>
#include <string>

#include "actors/answer_grammar.hpp"
#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "config/result.hpp"
#include "gpu/device.hpp"
#include "gpu/ops.hpp"
#include "model/weights.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::actors {

/// A running worker as its peers need it.
struct started_worker {
  std::string name;
  handle actor;
  transport::address address;
  transport::remote_span landing, kv_pool; ///< kv_pool: decode workers
};

class worker_factory {
public:
  /// pump: what devices run on; null: threads of their own.
  /// Errors  errc::not_found, errc::corrupt, errc::invalid_argument, errc::unavailable: model, topology or back-end
  static result<worker_factory> open(const msg::assign& order, supervisor_actor supervisor,
                                     std::shared_ptr<gpu::device_pump> pump);

  result<started_worker> start(caf::actor_system& system, const std::string& name);

  [[nodiscard]] std::uint64_t numerics_id() const { return weights_->numerics_id(); }
  [[nodiscard]] const std::shared_ptr<transport::endpoint>& endpoint() const noexcept { return endpoint_; }

private:
  worker_factory() = default;
  [[nodiscard]] gpu::team_options team_of(worker_id id);
  result<started_worker> start_attention(caf::actor_system& system, const std::string& name, worker_id id);
  result<started_worker> start_experts(caf::actor_system& system, const std::string& name, worker_id id);
  /// Tells the supervisor that bytes for `worker` did not arrive: its step is lost, and its stream with it.
  [[nodiscard]] std::function<void(failure)> report_for(const std::string& worker) const;

  std::shared_ptr<const cluster_plan> plan_;
  std::shared_ptr<const answer_grammar> json_;
  std::shared_ptr<model::weight_cache> weights_;
  const gpu::ops_table* ops_ = nullptr;
  std::shared_ptr<transport::endpoint> endpoint_;
  supervisor_actor supervisor_;
  std::shared_ptr<gpu::device_pump> pump_;
  int local_ = 1;               ///< workers of this process
  std::vector<int> free_cores_; ///< for workers to have to themselves; none where there are not enough for all
};

} // namespace quadrant::actors
