#include "actors/gateway.hpp"

#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

constexpr auto request_deadline = std::chrono::minutes(10);
constexpr auto tick_period = std::chrono::seconds(1);

} // namespace

gateway::gateway(caf::actor_config& config, std::shared_ptr<const cluster_plan> plan, router_actor router,
                 planner_actor planner, supervisor_actor supervisor, std::function<void(result<void>)> opened)
    : observed(config, "gateway"), supervisor_(std::move(supervisor)), opened_(std::move(opened)) {
  around_.plan = std::move(plan);
  around_.router = std::move(router);
  around_.planner = std::move(planner);
  set_down_handler([this](caf::down_msg& message) {
    const auto found = ids_.find(message.source);
    if (found == ids_.end()) return;
    live_.erase(found->second);
    ids_.erase(found);
  });
}

gateway::behavior_type gateway::make_behavior() {
  now("starting");
  delayed_send(this, tick_period, tick_atom::value);
  // No time limit: loading takes as long as it takes, and the supervisor answers when a process is lost.
  request(supervisor_, caf::infinite, ready_atom::value)
      .then([this](const msg::view& view, const handles& workers) { open(view, workers); },
            [this](const caf::error& e) { opened_(to_failure(e)); });
  return {[this](const msg::request_spec& spec, const sink_ref& sink) {
            if (!serving_) return sink->failed({errc::unavailable, "the cluster is not serving yet"});
            const auto id = spec.view()->getId();
            const request_actor made = spawn<live_request>(spec, around_, sink);
            monitor(made);
            live_.emplace(id, live{made, clock().now() + request_deadline});
            ids_.emplace(made.address(), id);
          },
          [this](cancel_atom, std::uint64_t id) {
            if (const auto found = live_.find(id); found != live_.end()) send(found->second.actor, cancel_atom::value);
          },
          [this](cancel_atom, std::uint64_t id, std::int32_t sample) {
            if (const auto found = live_.find(id); found != live_.end())
              send(found->second.actor, cancel_atom::value, sample);
          },
          [this](const msg::worker_down& message) {
            for (const auto& [id, r] : live_) send(r.actor, message);
          },
          [this](tick_atom) { tick(); }};
}

void gateway::open(const msg::view& view, const handles& workers) {
  around_.view = view;
  around_.workers = workers;
  around_.decode = caf::actor_cast<decode_actor>(workers[around_.plan->row_of({role::decode, 0, 0})]);
  serving_ = true;
  now("serving");
  opened_({});
}

void gateway::tick() {
  const auto time = clock().now();
  for (const auto& [id, r] : live_)
    if (r.deadline <= time) send(r.actor, timeout_atom::value);
  delayed_send(this, tick_period, tick_atom::value);
}

void gateway::on_exit() {
  for (const auto& [id, r] : live_) anon_send_exit(r.actor, caf::exit_reason::user_shutdown);
  live_.clear();
  around_ = {};
}

} // namespace quadrant::actors
