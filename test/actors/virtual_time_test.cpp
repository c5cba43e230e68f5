// A whole cluster on one thread: actors run on CAF's test coordinator, kernels on a device pump, bytes over the
// in-process path, and the clock goes where the test puts it.
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/gateway.hpp"
#include "actors/kept_promise.hpp"
#include "actors/node_agent.hpp"
#include "actors/prefill_planner.hpp"
#include "actors/router.hpp"
#include "actors/status.hpp"
#include "actors/supervisor.hpp"
#include "actors/system.hpp"
#include "actors/wire.hpp"
#include "test/actors/answers.hpp"
#include "test/model/tiny_checkpoint.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;

namespace {

class virtual_config : public system_config {
public:
  virtual_config() {
    set("scheduler.policy", caf::atom("testing"));
    set("middleman.heartbeat-interval", caf::timespan(0)); // nobody is remote; a pending beat would outlive the clock
  }
};

class virtual_cluster {
public:
  virtual_cluster(const test::tiny_checkpoint& model, const topology& t)
      : plan_(std::make_shared<const cluster_plan>(*cluster_plan::make(
            t, *model::read_model_config(model.path()), gpu::numerics_of(*gpu::parse_precision(t.precision))))),
        system_(config_), time_(dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler())) {
    planner_ = system_.spawn<prefill_planner>(plan_);
    router_ = system_.spawn<router>(plan_);
    supervisor_ = system_.spawn<supervisor>(
        supervisor::charge{.plan = plan_,
                           .topology_text = to_toml(t),
                           .model = model.path().string(),
                           .precision = t.precision,
                           .token = "t",
                           .planner = planner_,
                           .router = router_,
                           .lost = [this](const msg::worker_down& m) { caf::anon_send(gateway_, m); }});
    gateway_ = system_.spawn<gateway>(plan_, router_, planner_, supervisor_,
                                      [this](const result<void>& how) { open_ = how.ok(); });
    agent_ = system_.spawn<node_agent>(
        "main", supervisor_, [](const failure&) {}, pump_);
    run();
    REQUIRE(open_);
  }
  ~virtual_cluster() {
    for (const auto& a : {caf::actor_cast<caf::actor>(gateway_), caf::actor_cast<caf::actor>(planner_),
                          caf::actor_cast<caf::actor>(router_), caf::actor_cast<caf::actor>(supervisor_),
                          caf::actor_cast<caf::actor>(agent_)})
      caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
    run();
  }

  std::shared_ptr<test::collector> submit(std::vector<std::int32_t> tokens, std::int32_t new_tokens,
                                          std::int32_t samples = 1) {
    auto sink = std::make_shared<test::collector>(samples);
    caf::anon_send(gateway_, msg::request_spec::make([&](wire::RequestSpec::Builder& b) {
                     b.setId(++last_id_);
                     write_ints([&](unsigned n) { return b.initTokens(n); }, tokens);
                     b.setMaxNewTokens(new_tokens);
                     b.setSamples(samples);
                   }),
                   sink_ref(std::make_shared<kept_promise>(sink, samples)));
    return sink;
  }
  /// Of the last request.
  void cancel(std::int32_t sample) { caf::anon_send(gateway_, cancel_atom::value, last_id_, sample); }
  /// Until nobody has anything left to do at this instant.
  void run() {
    while (time_.run() + pump_->run() > 0) {
    }
  }
  /// One message, or else every ready kernel. False where there is nothing to do.
  bool turn() { return time_.try_run_once() || pump_->run() > 0; }
  void end_gateway() { caf::anon_send_exit(gateway_, caf::exit_reason::user_shutdown); }
  void pass(caf::timespan time) {
    time_.advance_time(time);
    run();
  }
  [[nodiscard]] cluster_status status() {
    cluster_status found;
    const caf::scoped_actor self(system_);
    auto asked = self->request(supervisor_, caf::infinite, msg::status_query::make([](auto&) {}));
    run();
    asked.receive([&](const msg::status_report& r) { found = read(*r.view()); }, [](const caf::error&) {});
    return found;
  }

private:
  std::shared_ptr<const cluster_plan> plan_;
  virtual_config config_;
  caf::actor_system system_;
  caf::scheduler::test_coordinator& time_;
  std::shared_ptr<gpu::device_pump> pump_ = std::make_shared<gpu::device_pump>();
  planner_actor planner_;
  router_actor router_;
  supervisor_actor supervisor_;
  gateway_actor gateway_;
  node_actor agent_;
  bool open_ = false;
  std::uint64_t last_id_ = 0;
};

topology apart() {
  topology t;
  t.prefill_pp = 2;
  t.prefill_tp = 2;
  t.decode_tp = 2;
  t.experts_prefill_ep = 2;
  t.experts_decode_ep = 2;
  t.prefill_chunk_tokens = 16;
  t.decode_max_sequences = 2;
  t.prefill_kv_blocks = t.decode_kv_blocks = 32;
  return t;
}

std::vector<std::int32_t> prompt(std::int32_t n) {
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < n; ++i) tokens.push_back((i * 31 + n) % test::tiny_checkpoint::vocab);
  return tokens;
}

} // namespace

TEST_CASE("a cluster that runs on one thread gives the answers of one that runs on many") {
  const test::tiny_checkpoint model(21);
  std::vector<test::answer> expected;
  {
    auto engine = engine::start({.model = model.path(), .layout = {}});
    REQUIRE(engine.ok());
    for (const auto n : {3, 70, 131}) {
      auto a = test::ask(**engine, {.tokens = prompt(n), .max_new_tokens = 9}).sink->wait();
      REQUIRE(a.ok());
      expected.push_back(std::move(*a));
    }
  }
  virtual_cluster cluster(model, apart());
  std::vector<std::shared_ptr<test::collector>> sinks;
  for (const auto n : {3, 70, 131}) sinks.push_back(cluster.submit(prompt(n), 9));
  cluster.run();
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    const auto a = sinks[i]->wait(std::chrono::seconds(0));
    REQUIRE_MESSAGE(a.ok(), a.error().message);
    CHECK(*a == expected[i]);
  }
  CHECK(cluster.status().blocks_used == 0);
}

TEST_CASE("ten minutes later a request that still waits has failed, and everything comes home") {
  const test::tiny_checkpoint model(22);
  virtual_cluster cluster(model, apart());
  std::vector<std::shared_ptr<test::collector>> sinks;
  for (int i = 0; i < 4; ++i) sinks.push_back(cluster.submit(prompt(20), 400)); // two slots: two wait for a lease
  while (sinks[0]->count() < 5) REQUIRE(cluster.turn());
  cluster.pass(std::chrono::minutes(11));
  for (const auto& sink : sinks) {
    const auto a = sink->wait(std::chrono::seconds(0));
    REQUIRE_FALSE(a.ok());
    CHECK(a.error().code == errc::deadline);
  }
  const auto now = cluster.status();
  CHECK(now.requests_live == 0);
  CHECK(now.blocks_used == 0);
  CHECK(now.credits_out == 0);
}

TEST_CASE("a gateway that ends answers the requests that live, and those that come too late") {
  const test::tiny_checkpoint model(23);
  virtual_cluster cluster(model, apart());
  const auto lives = cluster.submit(prompt(20), 400);
  while (lives->count() < 5) REQUIRE(cluster.turn());
  cluster.end_gateway();
  cluster.run();
  const auto late = cluster.submit(prompt(5), 3);
  cluster.run();
  for (const auto& sink : {lives, late}) {
    const auto a = sink->wait(std::chrono::seconds(0));
    REQUIRE_FALSE(a.ok());
    CHECK(a.error().code == errc::cancelled);
  }
}

TEST_CASE("a sample may be cancelled at any moment: it ends once, the other goes on, and everything comes home") {
  const test::tiny_checkpoint model(24);
  virtual_cluster cluster(model, apart());
  bool before_its_end = true;
  for (int turns = 0; before_its_end; ++turns) {
    const auto size = 60 + turns % 2 * 68; // with an open block to copy, and without
    const auto sink = cluster.submit(prompt(size), 12, 2);
    for (int i = 0; i < turns && before_its_end; ++i) before_its_end = cluster.turn();
    cluster.cancel(turns % 2);
    cluster.cancel(turns % 2); // again
    cluster.run();
    const auto a = sink->wait_all(std::chrono::seconds(0));
    REQUIRE_MESSAGE(a.ok(), turns, " turns: ", a.error().message);
    const auto cut = std::size_t(turns % 2), whole = 1 - cut;
    CHECK((*a)[whole].tokens.size() == 12);
    CHECK((*a)[whole].why == finish::length);
    CHECK((*a)[cut].why == ((*a)[cut].tokens.size() == 12 ? finish::length : finish::cancelled));
    CHECK(std::equal((*a)[cut].tokens.begin(), (*a)[cut].tokens.end(), (*a)[whole].tokens.begin())); // both are greedy
    const auto now = cluster.status();
    CHECK(now.blocks_used == 0);
    CHECK(now.requests_live == 0);
    CHECK(now.credits_out == 0);
  }
}
