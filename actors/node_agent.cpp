#include "actors/node_agent.hpp"

#include <unistd.h>

#include "actors/status.hpp"
#include "actors/wire.hpp"
#include "actors/worker_factory.hpp"

namespace quadrant::actors {

node_agent::node_agent(caf::actor_config& config, std::string name, supervisor_actor supervisor,
                       std::function<void(failure)> ended, std::shared_ptr<gpu::device_pump> pump)
    : observed(config, "node agent"), name_(std::move(name)), supervisor_(std::move(supervisor)),
      ended_(std::move(ended)), pump_(std::move(pump)) {
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
            if (const auto taken = read(message.view()->getProblem()); !taken) {
              ended_(taken.error());
              quit();
              return {msg::assigned(), handles{}};
            }
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
            return msg::status_report::make(
                [this](wire::StatusReport::Builder& b) {
                  if (supervisor_.node() != system().node())
                    write_actors(b, system(), name_); // else the supervisor sees them itself
                  if (!endpoint_) return;
                  const auto books = endpoint_->books();
                  write_gauges(b, {{"transfers_in_flight", double(books.transfers_in_flight)},
                                   {"bytes_sent", double(books.bytes_sent)},
                                   {"streams", double(books.peers)},
                                   {"streams_shm", double(books.over_shared_memory)},
                                   {"streams_rdma", double(books.over_rdma)},
                                   {"bytes_received", double(books.bytes_received)},
                                   {"bytes_placed_by_rdma", double(books.bytes_placed)},
                                   {"memory_regions", double(books.regions)}});
                },
                0, 4096);
          }};
}

void node_agent::on_exit() {
  ended_({errc::cancelled, "the cluster has ended"});
  for (const auto& worker : workers_)
    caf::anon_send_exit(caf::actor_cast<caf::actor>(worker), caf::exit_reason::user_shutdown);
  workers_.clear();
}

result<node_agent::loaded> node_agent::start_workers(const msg::assign& message) {
  const auto v = message.view();
  name_ = v->getName().cStr();
  QUADRANT_TRY(auto factory, worker_factory::open(message, supervisor_, pump_));
  endpoint_ = factory.endpoint();
  std::vector<started_worker> started;
  for (const auto name : v->getWorkers()) {
    QUADRANT_TRY(auto worker, factory.start(home_system(), name.cStr()));
    workers_.push_back(worker.actor);
    started.push_back(std::move(worker));
  }
  return loaded{msg::assigned::make([&](wire::Assigned::Builder& b) {
                  b.setName(name_);
                  b.setNumericsId(factory.numerics_id());
                  auto list = b.initWorkers(unsigned(started.size()));
                  for (unsigned i = 0; i < list.size(); ++i) {
                    list[i].setName(started[i].name);
                    write(list[i].initAddress(), started[i].address);
                    write(list[i].initLanding(), started[i].landing);
                    write(list[i].initKvPool(), started[i].kv_pool);
                  }
                }),
                workers_};
}

} // namespace quadrant::actors
