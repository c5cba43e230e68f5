#include "actors/node_agent.hpp"

#include <unistd.h>

#include "actors/attention_host.hpp"
#include "actors/decode_worker.hpp"
#include "actors/expert_group.hpp"
#include "actors/model_source.hpp"
#include "actors/prefill_shard.hpp"
#include "actors/status.hpp"
#include "actors/wire.hpp"
#include "config/log.hpp"

namespace quadrant::actors {

node_agent::node_agent(caf::actor_config& config, std::string name, supervisor_actor supervisor, std::function<void(failure)> ended)
    : observed(config, "node agent"), name_(std::move(name)), supervisor_(std::move(supervisor)), ended_(std::move(ended)) {
  set_down_handler([this](caf::down_msg&) {
    now("orphaned");
    ended_({errc::peer_lost, "the supervisor is gone"});
  });
}

node_agent::behavior_type node_agent::make_behavior() {
  monitor(supervisor_);
  now("joining");
  send(supervisor_, msg::join::make([&](wire::Join::Builder& b) {
         b.setName(name_);
         b.setPid(std::uint32_t(getpid()));
       }),
       caf::actor_cast<handle>(this));
  return {[this](const msg::assign& message) -> caf::result<msg::assigned, handles> {
            now("loading");
            auto started = start_workers(message);
            if (started) {
              now("serving");
              return {std::move(started->reply), std::move(started->workers)};
            }
            now("failed");
            return {msg::assigned::make([&](wire::Assigned::Builder& b) {
                      b.setName(name_);
                      write(b.initProblem(), started.error());
                    }),
                    handles{}};
          },
          [this](const msg::status_query&) {
            return msg::status_report::make([this](wire::StatusReport::Builder& b) {
              if (supervisor_.node() != system().node()) write_actors(b, name_); // else the supervisor sees them itself
              if (!endpoint_) return;
              const auto books = endpoint_->books();
              write_gauges(b, {{"transfers_in_flight", double(books.transfers_in_flight)}, {"bytes_sent", double(books.bytes_sent)},
                               {"bytes_received", double(books.bytes_received)}, {"memory_regions", double(books.regions)}});
            }, 0, 4096);
          }};
}

void node_agent::on_exit() {
  ended_({errc::cancelled, "the cluster has ended"});
  for (const auto& worker : workers_) caf::anon_send_exit(caf::actor_cast<caf::actor>(worker), caf::exit_reason::user_shutdown);
  workers_.clear();
}

result<node_agent::loaded> node_agent::start_workers(const msg::assign& message) {
  const auto v = message.view();
  name_ = v->getName().cStr();
  QUADRANT_TRY(auto layout, parse_topology(v->getTopology().cStr(), "topology"));
  const auto precision = gpu::parse_precision(v->getPrecision().cStr());
  if (!precision) return {errc::invalid_argument, "unknown precision"};
  QUADRANT_TRY(const auto* ops, gpu::choose_ops());
  QUADRANT_TRY(auto weights, open_model(v->getModel().cStr(), *precision));
  QUADRANT_TRY(auto made_plan, cluster_plan::make(layout, weights->config(), weights->numerics()));
  const auto plan = std::make_shared<const cluster_plan>(std::move(made_plan));
  QUADRANT_TRY(auto endpoint, transport::make_endpoint({.listen = !layout.processes.empty(), .cluster_token = v->getToken().cStr(), .numerics_id = weights->numerics_id()}));
  endpoint_ = std::move(endpoint);

  // A step whose bytes did not arrive is lost, and its stream with it: better to say so at once than to hang.
  const auto failed_for = [this](const std::string& worker) {
    return [supervisor = supervisor_, worker](const failure& why) {
      if (why.code == errc::cancelled) return;
      log::warn(worker, "data plane: " + why.message);
      caf::anon_send(supervisor, msg::worker_down::make([&](wire::WorkerDown::Builder& b) {
                       b.setName(worker);
                       b.setReason("its data plane failed: " + why.message);
                     }));
    };
  };
  struct started_worker {
    std::string name;
    transport::address address;
    transport::remote_span landing, kv;
  };
  std::vector<started_worker> started;
  const auto local = int(v->getWorkers().size());
  const bool pin = local == 1 && layout.processes.empty();
  for (const auto worker : v->getWorkers()) {
    const std::string name = worker.cStr();
    const auto id = worker_id::parse(name);
    if (!id) return {errc::invalid_argument, "unknown worker " + name};
    log::info("node " + name_, "loading " + name);
    if (id->kind == role::prefill || id->kind == role::decode) {
      QUADRANT_TRY(auto shard, model::load_shard(*weights, plan->shard_of(*id)));
      const bool prefill = id->kind == role::prefill;
      const auto host = std::make_shared<attention_host>(attention_host::parts{
          .name = name, .id = *id, .plan = plan, .shard = std::move(shard), .ops = ops, .endpoint = endpoint_, .threads = plan->threads_of(*id, local), .pin = pin,
          .kv_blocks = std::int32_t(prefill ? layout.prefill_kv_blocks : layout.decode_kv_blocks),
          .token_slots = std::int32_t(layout.decode_max_sequences), .failed = failed_for(name)});
      workers_.push_back(prefill ? caf::actor_cast<handle>(home_system().spawn<prefill_shard>(host, plan->row_of(*id)))
                                 : caf::actor_cast<handle>(home_system().spawn<decode_worker>(host)));
      started.push_back({name, host->address(), host->landing(), prefill ? transport::remote_span{} : host->kv_pool()});
    } else {
      const auto range = plan->experts_of(id->kind == role::prefill_experts ? role::prefill : role::decode, id->rank);
      std::vector<model::ffn_weights> layers;
      for (std::int32_t layer = 0; layer < plan->config().num_layers; ++layer) {
        model::ffn_weights ffn;
        if (plan->config().is_moe_layer(layer)) {
          QUADRANT_TRY(ffn, weights->ffn(layer, range.first, range.end));
        }
        layers.push_back(std::move(ffn));
      }
      const auto host = std::make_shared<expert_host>(expert_host::parts{.name = name, .id = *id, .plan = plan, .numerics = weights->numerics(), .layers = std::move(layers),
                                                                         .ops = ops, .endpoint = endpoint_, .threads = plan->threads_of(*id, local), .pin = pin, .failed = failed_for(name)});
      const expert_actor group = home_system().spawn<expert_group>(host);
      host->open(group);
      workers_.push_back(caf::actor_cast<handle>(group));
      started.push_back({name, host->address(), host->landing(), {}});
    }
  }
  return loaded{msg::assigned::make([&](wire::Assigned::Builder& b) {
                  b.setName(name_);
                  b.setNumericsId(weights->numerics_id());
                  auto list = b.initWorkers(unsigned(started.size()));
                  for (unsigned i = 0; i < list.size(); ++i) {
                    list[i].setName(started[i].name);
                    write(list[i].initAddress(), started[i].address);
                    write(list[i].initLanding(), started[i].landing);
                    write(list[i].initKvPool(), started[i].kv);
                  }
                }),
                workers_};
}

} // namespace quadrant::actors
