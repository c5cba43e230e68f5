#include "actors/engine.hpp"

#include <chrono>
#include <cmath>
#include <future>
#include <thread>

#include "actors/answer_grammar.hpp"
#include "actors/child_processes.hpp"
#include "actors/gateway.hpp"
#include "actors/kept_promise.hpp"
#include "actors/model_source.hpp"
#include "actors/node_agent.hpp"
#include "actors/prefill_planner.hpp"
#include "actors/router.hpp"
#include "actors/status.hpp"
#include "actors/supervisor.hpp"
#include "actors/system.hpp"
#include "actors/wire.hpp"
#include "config/hash.hpp"
#include "config/random.hpp"

namespace quadrant::actors {
namespace {

constexpr const char* loopback = "127.0.0.1"; // CAF's wire is unauthenticated
constexpr auto poll_period = std::chrono::milliseconds(50);
constexpr auto status_timeout = std::chrono::seconds(4);
constexpr auto settle_patience = std::chrono::seconds(2);

std::string new_token() { return to_hex(random_u64()) + to_hex(random_u64()); }

failure wrong(std::string what) { return {errc::invalid_argument, std::move(what)}; }

class cluster_engine final : public engine {
public:
  cluster_engine(engine_options options, std::shared_ptr<const cluster_plan> plan)
      : plan_(std::move(plan)), system_(system_config_), options_(std::move(options)),
        json_(answer_grammar::of(options_.model, plan_->config())) {}

  ~cluster_engine() override {
    if (gateway_) caf::anon_send_exit(gateway_, caf::exit_reason::user_shutdown); // it ends what is live
    settle();
    for (const auto& actor : {caf::actor_cast<caf::actor>(planner_), caf::actor_cast<caf::actor>(router_),
                              caf::actor_cast<caf::actor>(supervisor_), caf::actor_cast<caf::actor>(agent_)})
      if (actor) caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    children_.end();
  }

  result<void> open() {
    planner_ = system_.spawn<prefill_planner>(plan_);
    router_ = system_.spawn<router>(plan_);
    const auto token = options_.cluster_token.empty() ? new_token() : options_.cluster_token;
    const auto gateway_link = std::make_shared<std::promise<gateway_actor>>();
    const auto front = gateway_link->get_future().share();
    supervisor_ = system_.spawn<supervisor>(
        supervisor::charge{.plan = plan_,
                           .topology_text = to_toml(plan_->layout()),
                           .model = std::filesystem::absolute(options_.model).string(),
                           .precision = plan_->layout().precision,
                           .token = token,
                           .planner = planner_,
                           .router = router_,
                           .lost = [front](const msg::worker_down& message) { caf::anon_send(front.get(), message); }});
    const auto opened = std::make_shared<std::promise<result<void>>>();
    auto outcome = opened->get_future();
    gateway_ = system_.spawn<gateway>(plan_, router_, planner_, supervisor_,
                                      [opened](result<void> how) { opened->set_value(std::move(how)); });
    gateway_link->set_value(gateway_);

    auto port = system_.middleman().publish(supervisor_, options_.control_port, loopback, /*reuse address*/ true);
    if (!port)
      return wrong("the control port " + std::string(loopback) + ":" + std::to_string(options_.control_port) +
                   " is taken, perhaps by another cluster; choose another with --control-port");
    control_port_ = *port;

    if (options_.joinable) options_.joinable(control_port_);

    const auto& processes = plan_->layout().processes;
    if (processes.empty()) agent_ = system_.spawn<node_agent>("main", supervisor_, [](const failure&) {});
    if (options_.start_nodes) {
      const auto program =
          options_.executable.empty() ? std::filesystem::read_symlink("/proc/self/exe") : options_.executable;
      for (const auto& process : processes)
        QUADRANT_TRY_VOID(children_.start(
            process.name, program,
            {"node", "--join", loopback + (":" + std::to_string(control_port_)), "--name", process.name}));
    }
    while (outcome.wait_for(poll_period) != std::future_status::ready) {
      if (const auto name = children_.ended(); name)
        return {errc::peer_lost, "process " + *name + " ended while the cluster was starting"};
      if (options_.stop && options_.stop()) return {errc::cancelled, "stopped while the cluster was starting"};
    }
    return outcome.get();
  }

  std::uint64_t submit(generation what, std::shared_ptr<token_sink> sink) override {
    const auto id = random_u64();
    if (auto usable = check(what); !usable) {
      sink->failed(usable.error());
      return id;
    }
    caf::anon_send(gateway_,
                   msg::request_spec::make(
                       [&](wire::RequestSpec::Builder& b) {
                         b.setId(id);
                         write_ints([&](unsigned n) { return b.initTokens(n); }, what.tokens);
                         b.setMaxNewTokens(what.max_new_tokens);
                         write_ints([&](unsigned n) { return b.initStopTokens(n); }, what.stop_tokens);
                         write(b.initSampling(), what.sampling);
                         b.setAllLogits(what.all_logits);
                         b.setSamples(what.samples);
                         if (const auto rules = rules_of(what)) write(b.initRules(), *rules);
                       },
                       id, 62 + what.tokens.size() / 2),
                   sink_ref(std::make_shared<kept_promise>(std::move(sink), what.samples)));
    return id;
  }

  void cancel(std::uint64_t id) override { caf::anon_send(gateway_, cancel_atom::value, id); }
  void cancel(std::uint64_t id, std::int32_t sample) override {
    caf::anon_send(gateway_, cancel_atom::value, id, sample);
  }

  [[nodiscard]] cluster_status status() override {
    auto report = ask_status(system_, supervisor_);
    if (report) return *report;
    cluster_status unknown;
    unknown.note = report.error().message;
    return unknown;
  }

  [[nodiscard]] const model::model_config& config() const override { return plan_->config(); }
  [[nodiscard]] std::uint16_t control_port() const override { return control_port_; }

  static result<cluster_status> ask_status(caf::actor_system& system, const supervisor_actor& whom) {
    const caf::scoped_actor self(system);
    result<cluster_status> answer(errc::unavailable, "the supervisor does not answer");
    self->request(whom, status_timeout, msg::status_query::make([](auto&) {}))
        .receive([&](const msg::status_report& report) { answer = read(*report.view()); },
                 [&](const caf::error& e) {
                   answer = failure{errc::unavailable, "the supervisor does not answer: " + caf::to_string(e)};
                 });
    return answer;
  }

private:
  /// Waits a moment for the steps in flight, so that no worker sends to one that has ended already.
  void settle() {
    const auto end = std::chrono::steady_clock::now() + settle_patience;
    for (auto now = status();
         now.serving && (now.credits_out > 0 || now.blocks_used > 0) && std::chrono::steady_clock::now() < end;
         now = status())
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  /// What of the request changes logits beside its numbers; nothing where nothing does.
  [[nodiscard]] static std::optional<model::sampling_rules> rules_of(const generation& what) {
    const auto& s = what.sampling;
    const bool bans = what.min_new_tokens > 0 && !what.stop_tokens.empty();
    const bool counts = s.presence != 0 || s.frequency != 0 || s.repetition != 1;
    const bool json = what.form == answer_form::json_object;
    if (!bans && !counts && !json && what.bias.empty() && what.top_logprobs < 0) return std::nullopt;
    model::sampling_rules rules{.counts_tokens = counts,
                                .prompt = {},
                                .bias = what.bias,
                                .banned = {},
                                .json_object = json,
                                .top_logprobs = what.top_logprobs};
    if (s.repetition != 1) rules.prompt = what.tokens;
    if (bans) {
      rules.banned = what.stop_tokens;
      rules.banned_until = std::int32_t(what.tokens.size()) + what.min_new_tokens;
    }
    return rules;
  }
  /// Cuts what is beyond the vocabulary, and says what cannot be.
  result<void> check_sampling(generation& what) const {
    const auto vocab = plan_->config().vocab_size;
    const auto& s = what.sampling;
    for (const float number : {s.temperature, s.top_p, s.min_p, s.presence, s.frequency, s.repetition})
      if (!std::isfinite(number)) return wrong("a number of the sampling is not finite");
    if (s.repetition <= 0) return wrong("the repetition penalty must be above 0; 1 is none");
    if (what.samples < 1 || what.samples > plan_->layout().decode_max_sequences)
      return wrong(std::to_string(what.samples) + " samples are wanted; there can be 1 to " +
                   std::to_string(plan_->layout().decode_max_sequences) + " (max_sequences of decode)");
    if (what.all_logits && what.samples != 1) return wrong("all logits are of one sample");
    if (what.top_logprobs > max_top_logprobs)
      return wrong("logprobs of at most " + std::to_string(max_top_logprobs) + " tokens can be had");
    if (what.bias.size() > std::size_t(max_logit_biases))
      return wrong("at most " + std::to_string(max_logit_biases) + " logits can have a bias");
    for (const auto& b : what.bias)
      if (b.id < 0 || b.id >= vocab || !std::isfinite(b.bias))
        return wrong("the bias of token " + std::to_string(b.id) + " is not of the vocabulary of " +
                     std::to_string(vocab) + ", or not finite");
    what.top_logprobs = std::min(what.top_logprobs, vocab);
    std::erase_if(what.stop_tokens, [&](std::int32_t id) { return id < 0 || id >= vocab; });
    if (what.form == answer_form::json_object && !json_->get()) return json_->get().error();
    return {};
  }
  /// Fills in what the request left open.
  result<void> check(generation& what) const {
    const auto& c = plan_->config();
    if (what.tokens.empty()) return wrong("a prompt needs at least one token");
    for (const auto token : what.tokens)
      if (token < 0 || token >= c.vocab_size)
        return wrong("token " + std::to_string(token) + " is not in the vocabulary of " + std::to_string(c.vocab_size));
    const auto room = c.max_position_embeddings - std::int32_t(what.tokens.size());
    if (what.all_logits)
      what.max_new_tokens = 0;
    else if (what.max_new_tokens == 0)
      what.max_new_tokens = std::max(1, std::min(c.max_new_tokens, room));
    if (what.max_new_tokens < 0 || what.max_new_tokens > room)
      return wrong("the prompt has " + std::to_string(what.tokens.size()) + " tokens and " +
                   std::to_string(what.max_new_tokens) + " new ones are wanted, but the model has " +
                   std::to_string(c.max_position_embeddings) + " positions");
    if (what.min_new_tokens > what.max_new_tokens)
      return wrong("at least " + std::to_string(what.min_new_tokens) + " new tokens are wanted, but at most " +
                   std::to_string(what.max_new_tokens));
    return check_sampling(what);
  }

  std::shared_ptr<const cluster_plan> plan_;
  system_config system_config_;
  caf::actor_system system_;
  engine_options options_;
  planner_actor planner_;
  router_actor router_;
  supervisor_actor supervisor_;
  gateway_actor gateway_;
  node_actor agent_;
  std::uint16_t control_port_ = 0;
  child_processes children_;
  std::shared_ptr<const answer_grammar> json_;
};

result<supervisor_actor> connect(caf::actor_system& system, const std::string& host, std::uint16_t port) {
  auto found = system.middleman().remote_actor<supervisor_actor>(host, port);
  if (!found) return {errc::peer_lost, "no Quadrant cluster answers at " + host + ":" + std::to_string(port)};
  return *found;
}

} // namespace

result<std::unique_ptr<engine>> engine::start(engine_options options) {
  const auto precision = gpu::parse_precision(options.layout.precision);
  if (!precision) return wrong("precision must be f32, bf16, w8a8 or w4a8, not " + options.layout.precision);
  QUADRANT_TRY(options.layout,
               parse_topology(to_toml(options.layout), "layout")); // one made in code is checked as a file is
  QUADRANT_TRY(auto config, model::read_model_config(options.model));
  QUADRANT_TRY(auto plan, cluster_plan::make(options.layout, config, gpu::numerics_of(*precision)));
  auto made =
      std::make_unique<cluster_engine>(std::move(options), std::make_shared<const cluster_plan>(std::move(plan)));
  QUADRANT_TRY_VOID(made->open());
  return std::unique_ptr<engine>(std::move(made));
}

result<void> run_node(const std::string& host, std::uint16_t port, const std::string& name,
                      const std::function<bool()>& stop) {
  system_config config;
  caf::actor_system system(config);
  QUADRANT_TRY(const auto supervisor, connect(system, host, port));
  std::promise<failure> ended;
  auto reason = ended.get_future();
  const node_actor agent = system.spawn<node_agent>(name, supervisor, [&, told = false](const failure& why) mutable {
    if (!std::exchange(told, true)) ended.set_value(why);
  });
  result<void> outcome;
  while (!stop()) {
    if (reason.wait_for(poll_period) != std::future_status::ready) continue;
    if (auto why = reason.get(); why.code != errc::cancelled) outcome = std::move(why);
    break;
  }
  caf::anon_send_exit(agent, caf::exit_reason::user_shutdown);
  system.await_all_actors_done();
  return outcome;
}

result<cluster_status> status_of(const std::string& host, std::uint16_t port) {
  system_config config;
  caf::actor_system system(config);
  QUADRANT_TRY(const auto supervisor, connect(system, host, port));
  return cluster_engine::ask_status(system, supervisor);
}

} // namespace quadrant::actors
