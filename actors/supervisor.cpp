#include "actors/supervisor.hpp"

#include <algorithm>

#include "actors/node_agent.hpp"
#include "actors/status.hpp"
#include "actors/wire.hpp"
#include "config/log.hpp"

namespace quadrant::actors {
namespace {

constexpr auto load_timeout = std::chrono::minutes(30);
constexpr auto connect_timeout = std::chrono::seconds(30);
constexpr auto status_timeout = std::chrono::seconds(2);
constexpr auto data_plane_patience = std::chrono::milliseconds(500);

} // namespace

supervisor::supervisor(caf::actor_config& config, charge c) : observed(config, "supervisor"), charge_(std::move(c)) {
  const auto& t = charge_.plan->layout();
  if (t.processes.empty()) nodes_["main"].runs = t.worker_names();
  for (const auto& p : t.processes) nodes_[p.name].runs = p.runs;
  set_down_handler([this](caf::down_msg& message) { down(message); });
}

supervisor::behavior_type supervisor::make_behavior() {
  now("waiting");
  return {[this](const msg::join& message, const handle& agent) { joined(message, agent); },
          [this](ready_atom) -> caf::result<msg::view, handles> {
            auto promise = make_response_promise<msg::view, handles>();
            waiting_.push_back(promise);
            tell_waiting();
            return promise;
          },
          [this](const msg::worker_down& message) {
            // A peer on the data plane is often the first to notice a dead process; what really happened is known a
            // moment later.
            delayed_send(this, data_plane_patience, timeout_atom::value, message);
          },
          [this](timeout_atom, const msg::worker_down& message) {
            if (!problem_) lose(message.view()->getName().cStr(), message.view()->getReason().cStr());
          },
          [this](const msg::status_query&) { return gather_status(); }};
}

void supervisor::on_exit() {
  for (auto& [name, n] : nodes_)
    if (n.agent) anon_send_exit(n.agent, caf::exit_reason::user_shutdown);
  nodes_.clear();
  workers_.clear();
  view_handles_.clear();
  charge_ = {};
}

void supervisor::joined(const msg::join& message, const handle& agent) {
  const auto v = message.view();
  std::string name = v->getName().cStr();
  if (name.empty()) // any that is still missing
    for (const auto& [candidate, n] : nodes_)
      if (n.pid == 0) {
        name = candidate;
        break;
      }
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || found->second.pid != 0) {
    const auto why = name.empty()            ? std::string("no process of this topology is missing")
                     : found == nodes_.end() ? "this topology has no process " + name
                                             : "process " + name + " is already here";
    log::warn("supervisor", "a process may not join: " + why);
    caf::anon_send(as<node_actor>(agent), msg::assign::make([&](wire::Assign::Builder& b) {
                     write(b.initProblem(), {errc::invalid_argument, "the cluster does not take this process: " + why});
                   }));
    return;
  }
  found->second.agent = as<node_actor>(agent);
  found->second.pid = v->getPid();
  monitor(found->second.agent);
  log::info("supervisor", "process " + name + " joined, pid " + std::to_string(v->getPid()));
  now("assigning");
  assign(name);
}

void supervisor::assign(const std::string& name) {
  const auto& n = nodes_.at(name);
  const auto message = msg::assign::make([&](wire::Assign::Builder& b) {
    b.setName(name);
    b.setTopology(charge_.topology_text);
    b.setModel(charge_.model);
    b.setPrecision(charge_.precision);
    b.setToken(charge_.token);
    auto list = b.initWorkers(unsigned(n.runs.size()));
    for (unsigned i = 0; i < list.size(); ++i) list.set(i, n.runs[i]);
  });
  request(n.agent, load_timeout, message)
      .then([this, name](const msg::assigned& reply, const handles& workers) { took(name, reply, workers); },
            [this, name](const caf::error& e) {
              give_up({errc::peer_lost, "process " + name + " failed while loading: " + system().render(e)});
            });
}

void supervisor::took(const std::string& name, const msg::assigned& reply, const handles& workers) {
  const auto v = reply.view();
  if (const auto outcome = read(v->getProblem()); !outcome) return give_up(outcome.error());
  if (numerics_id_ != 0 && v->getNumericsId() != numerics_id_)
    return give_up(
        {errc::invalid_argument,
         "process " + name + " serves another model or arithmetic than the others: is its checkpoint the same?"});
  numerics_id_ = v->getNumericsId();
  for (unsigned i = 0; i < v->getWorkers().size(); ++i) {
    workers_[v->getWorkers()[i].getName().cStr()] = {name, workers[i], reply, i};
    monitor(caf::actor_cast<caf::actor>(workers[i]));
  }
  nodes_.at(name).assigned = true;
  if (std::ranges::all_of(nodes_, [](const auto& n) { return n.second.assigned; })) connect();
}

void supervisor::connect() {
  now("connecting");
  const auto& names = charge_.plan->workers();
  view_ = msg::view::make([&](wire::View::Builder& b) {
    b.setVersion(1);
    auto list = b.initWorkers(unsigned(names.size()));
    for (unsigned row = 0; row < list.size(); ++row) {
      const auto& w = workers_.at(names[row]);
      list.setWithCaveats(row, w.from.view()->getWorkers()[w.index]);
    }
  });
  view_handles_.clear();
  for (const auto& name : names) view_handles_.push_back(workers_.at(name).actor);
  unconnected_ = names.size();
  const auto one_done = [this] {
    if (--unconnected_ > 0) return;
    serving_ = true;
    now("serving");
    log::info("supervisor", "the cluster is serving");
    tell_waiting();
  };
  send(charge_.planner, view_, view_handles_);
  send(charge_.router, view_, view_handles_);
  for (const auto& name : names) {
    const auto failed = [this, name](const caf::error& e) {
      give_up({errc::peer_lost, "worker " + name + " does not take the view: " + system().render(e)});
    };
    const auto& h = workers_.at(name).actor;
    switch (worker_id::parse(name)->kind) {
    case role::prefill:
      request(as<shard_actor>(h), connect_timeout, view_, view_handles_).then(one_done, failed);
      break;
    case role::decode:
      request(as<decode_actor>(h), connect_timeout, view_, view_handles_).then(one_done, failed);
      break;
    default: request(as<expert_actor>(h), connect_timeout, view_, view_handles_).then(one_done, failed);
    }
  }
}

void supervisor::down(const caf::down_msg& message) {
  for (auto& [name, n] : nodes_)
    if (n.agent && n.agent.address() == message.source) {
      n.lost = true;
      const auto reason = "process " + name + " (pid " + std::to_string(n.pid) + ") ended or stopped answering";
      for (const auto& name_of_worker : n.runs) lose(name_of_worker, reason);
      return;
    }
  for (const auto& [name, w] : workers_)
    if (w.actor && caf::actor_cast<caf::actor_addr>(w.actor) == message.source)
      return lose(name, "its actor ended: " + system().render(message.reason));
}

void supervisor::lose(const std::string& name, const std::string& reason) {
  const auto text = "lost worker " + name + ": " + reason;
  if (!problem_)
    log::error("supervisor", text);
  else
    log::warn("supervisor", text);
  const auto message = msg::worker_down::make([&](wire::WorkerDown::Builder& b) {
    b.setName(name);
    b.setReason(reason);
  });
  send(charge_.router, message);
  charge_.lost(message);
  give_up({errc::peer_lost, text});
}

caf::result<msg::status_report> supervisor::gather_status() {
  struct collection {
    status_gathering sum;
    caf::typed_response_promise<msg::status_report> promise;
    std::size_t open = 1; ///< answers to come; this function's own share keeps it from ending before all are asked
  };
  const auto all = std::make_shared<collection>();
  all->promise = make_response_promise<msg::status_report>();
  all->sum.actors_here(system(), "main");
  const auto one_less = [this, all] {
    if (--all->open == 0)
      all->promise.deliver(all->sum.report(serving_ && !problem_, problem_ ? problem_->message : std::string()));
  };
  const auto ask = [&](const handle& whom, const std::string& name) {
    ++all->open;
    request(as<reporting_actor>(whom), status_timeout, msg::status_query::make([](auto&) {}))
        .then(
            [all, name, one_less](const msg::status_report& report) {
              all->sum.add(name, report);
              one_less();
            },
            [one_less](const caf::error&) { one_less(); }); // it is loading, or lost: the note says so
  };
  ask(caf::actor_cast<handle>(charge_.planner), "planner");
  ask(caf::actor_cast<handle>(charge_.router), "router");
  for (const auto& [name, n] : nodes_)
    if (n.agent && !n.lost) ask(caf::actor_cast<handle>(n.agent), name);
  for (const auto& [name, w] : workers_)
    if (!nodes_.at(w.node).lost) ask(w.actor, name);
  const auto answer = all->promise;
  one_less();
  return answer;
}

void supervisor::give_up(const failure& why) {
  if (!problem_) problem_ = why;
  now("degraded");
  tell_waiting();
}

void supervisor::tell_waiting() {
  if (problem_) {
    for (auto& promise : waiting_) promise.deliver(to_error(*problem_));
    waiting_.clear();
  } else if (serving_) {
    for (auto& promise : waiting_) promise.deliver(view_, view_handles_);
    waiting_.clear();
  }
}

} // namespace quadrant::actors
