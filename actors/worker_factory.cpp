#include "actors/worker_factory.hpp"

#include <new>

#include "actors/attention_host.hpp"
#include "actors/decode_worker.hpp"
#include "actors/expert_group.hpp"
#include "actors/model_source.hpp"
#include "actors/prefill_shard.hpp"
#include "actors/wire.hpp"
#include "config/log.hpp"
#include "config/progress.hpp"

namespace quadrant::actors {

result<worker_factory> worker_factory::open(const msg::assign& order, supervisor_actor supervisor,
                                            std::shared_ptr<gpu::device_pump> pump) {
  const auto v = order.view();
  worker_factory made;
  QUADRANT_TRY(const auto layout, parse_topology(v->getTopology().cStr(), "topology"));
  const auto precision = gpu::parse_precision(v->getPrecision().cStr());
  if (!precision) return {errc::invalid_argument, "unknown precision"};
  QUADRANT_TRY(made.ops_, gpu::choose_ops());
  QUADRANT_TRY(made.weights_, open_model(v->getModel().cStr(), *precision));
  QUADRANT_TRY(auto plan, cluster_plan::make(layout, made.weights_->config(), made.weights_->numerics()));
  made.plan_ = std::make_shared<const cluster_plan>(std::move(plan));
  made.json_ = answer_grammar::of(v->getModel().cStr(), made.plan_->config());
  QUADRANT_TRY(made.endpoint_, transport::make_endpoint({.listen = !layout.processes.empty(),
                                                         .cluster_token = v->getToken().cStr(),
                                                         .numerics_id = made.weights_->numerics_id(),
                                                         .rdma = layout.rdma == 1,
                                                         .shared_memory = layout.shared_memory == 1}));
  made.supervisor_ = std::move(supervisor);
  made.pump_ = std::move(pump);
  made.local_ = int(v->getWorkers().size());
  if (layout.pin_threads == 1 && layout.processes.empty()) {
    std::size_t threads = 0;
    for (const auto name : v->getWorkers())
      if (const auto id = worker_id::parse(name.cStr()))
        threads += std::size_t(made.plan_->threads_of(*id, made.local_));
    if (auto cores = gpu::usable_cores(); threads <= cores.size()) made.free_cores_ = std::move(cores);
  }
  return made;
}

result<started_worker> worker_factory::start(caf::actor_system& system, const std::string& name) {
  const auto id = worker_id::parse(name);
  if (!id) return {errc::invalid_argument, "unknown worker " + name};
  log::info(name, "loading");
  try {
    return id->kind == role::prefill || id->kind == role::decode ? start_attention(system, name, *id)
                                                                 : start_experts(system, name, *id);
  } catch (const std::bad_alloc&) {
    return {errc::unavailable, "worker " + name +
                                   " cannot have the memory that it needs; fewer kv_blocks, max_sequences, "
                                   "micro_batches or micro_batch_tokens in the topology need less"};
  }
}

result<started_worker> worker_factory::start_attention(caf::actor_system& system, const std::string& name,
                                                       worker_id id) {
  const auto& layout = plan_->layout();
  const bool prefill = id.kind == role::prefill;
  const auto kv_blocks = std::int32_t(prefill ? layout.prefill_kv_blocks : layout.decode_kv_blocks);
  QUADRANT_TRY(auto shard, model::load_shard(*weights_, plan_->shard_of(id), kv_blocks));
  const bool samples = shard->shape.samples;
  const auto host =
      std::make_shared<attention_host>(attention_host::parts{.name = name,
                                                             .id = id,
                                                             .plan = plan_,
                                                             .shard = std::move(shard),
                                                             .ops = ops_,
                                                             .endpoint = endpoint_,
                                                             .team = team_of(id),
                                                             .pump = pump_,
                                                             .token_slots = std::int32_t(layout.decode_max_sequences),
                                                             .json = samples ? json_ : nullptr,
                                                             .failed = report_for(name)});
  started_worker worker{.name = name,
                        .actor = {},
                        .address = host->address(),
                        .landing = host->landing(),
                        .kv_pool = prefill ? transport::remote_span{} : host->kv_pool()};
  worker.actor = prefill ? caf::actor_cast<handle>(system.spawn<prefill_shard>(host, plan_->row_of(id)))
                         : caf::actor_cast<handle>(system.spawn<decode_worker>(host));
  return worker;
}

result<started_worker> worker_factory::start_experts(caf::actor_system& system, const std::string& name, worker_id id) {
  const auto range = plan_->experts_of(id.kind == role::prefill_experts ? role::prefill : role::decode, id.rank);
  const auto packers = weights_->packers(); // for all layers
  std::vector<model::ffn_weights> layers;
  for (std::int32_t layer = 0; layer < plan_->config().num_layers; ++layer) {
    progress::report("loading experts", std::uint64_t(layer), std::uint64_t(plan_->config().num_layers), "layers");
    model::ffn_weights ffn;
    if (plan_->config().is_moe_layer(layer)) {
      QUADRANT_TRY(ffn, weights_->ffn(layer, range.first, range.end));
    }
    layers.push_back(std::move(ffn));
  }
  progress::report("loading experts", 1, 1, "layers");
  const auto host = std::make_shared<expert_host>(expert_host::parts{.name = name,
                                                                     .id = id,
                                                                     .plan = plan_,
                                                                     .numerics = weights_->numerics(),
                                                                     .layers = std::move(layers),
                                                                     .ops = ops_,
                                                                     .endpoint = endpoint_,
                                                                     .team = team_of(id),
                                                                     .pump = pump_,
                                                                     .failed = report_for(name)});
  const expert_actor group = system.spawn<expert_group>(host);
  host->open(group);
  return started_worker{.name = name,
                        .actor = caf::actor_cast<handle>(group),
                        .address = host->address(),
                        .landing = host->landing(),
                        .kv_pool = {}};
}

/// Cores of its own, the threads that the topology asks for, or a share of all cores that is as large as the others leave.
gpu::team_options worker_factory::team_of(worker_id id) {
  const auto threads = plan_->threads_of(id, local_);
  if (!free_cores_.empty()) {
    std::vector<int> taken(free_cores_.end() - threads, free_cores_.end());
    free_cores_.resize(free_cores_.size() - taken.size());
    return {.num_threads = threads, .cores = std::move(taken)};
  }
  if (plan_->threads_asked(id) > 0) return {.num_threads = threads};
  return {.num_threads = std::max(1, int(gpu::usable_cores().size())), .shares_cores = true};
}

std::function<void(failure)> worker_factory::report_for(const std::string& worker) const {
  return [supervisor = supervisor_, worker](const failure& why) {
    if (why.code == errc::cancelled) return;
    log::warn(worker, "data plane: " + why.message);
    caf::anon_send(supervisor, msg::worker_down::make([&](wire::WorkerDown::Builder& b) {
                     b.setName(worker);
                     b.setReason("its data plane failed: " + why.message);
                   }));
  };
}

} // namespace quadrant::actors
