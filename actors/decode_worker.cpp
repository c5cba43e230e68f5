#include "actors/decode_worker.hpp"

#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

scheduler::decode_limits limits_of(const topology& t) {
  return {.max_sequences = std::int32_t(t.decode_max_sequences),
          .launch_ahead = std::int32_t(t.decode_launch_ahead),
          .micro_batches = std::int32_t(t.decode_micro_batches),
          .kv_split = std::int32_t(t.decode_kv_split),
          .prefix_cache = t.decode_prefix_cache == 1};
}

/// As the rank sees it that holds the kv_rank-th part of each sequence's KV.
model::batch read_batch(wire::DecodeStep::Reader step, std::int32_t kv_rank) {
  model::batch b;
  for (const auto row : step.getRows()) {
    b.outputs.push_back({.row = std::int32_t(b.ids.size()),
                         .slot = row.getSlot(),
                         .sampling = read(row.getSampling()),
                         .opens = row.getOpens(),
                         .rules = row.getOpens() && row.hasRules() ? read(row.getRules()) : nullptr});
    b.ids.push_back(row.getToken());
    const scheduler::kv_split split{read_ints(row.getSegmentEnds())};
    b.sequences.push_back({.num_rows = 1,
                           .first_position = row.getPosition(),
                           .blocks = read_ints(row.getBlocks()),
                           .first_segment = split.first_segment(std::size_t(kv_rank)),
                           .end_segment = split.end_segment(std::size_t(kv_rank))});
  }
  return b;
}

} // namespace

void decode_worker::gap_meter::step(std::int64_t started_ns, std::int64_t ended_ns) {
  if (last_end_ns != 0) {
    idle_ns += std::max<std::int64_t>(0, started_ns - last_end_ns);
    step_ns += ended_ns - started_ns;
  }
  last_end_ns = ended_ns;
}

decode_worker::decode_worker(caf::actor_config& config, std::shared_ptr<attention_host> host)
    : observed(config, "decode worker " + host->about().name), host_(std::move(host)),
      core_(limits_of(host_->about().plan->layout()), std::int32_t(host_->about().plan->layout().decode_kv_blocks)),
      gaps_(std::size_t(core_.num_micro_batches())) {}

decode_worker::behavior_type decode_worker::make_behavior() {
  now("joining");
  const auto& about = host_->about();
  if (about.id.rank == 0)
    host_->on_hand_over([self = decode_actor(this)](const msg::arrival& message) { caf::anon_send(self, message); });
  else // its word goes the way that the bytes came: the control plane is slower
    host_->on_hand_over([host = host_.get()](const msg::arrival& message) { host->tell_first_rank(message); });
  return {[this](const msg::reserve& message) { reserve(message); },
          [this](const msg::arrival& message) { handed_over(message); },
          [this](const msg::forget& message) { forget(message); },
          [this](const msg::decode_step& message) { execute(message); },
          [this](const msg::decode_step_done& message) { commit(message); },
          [this](const msg::view& message, const handles& workers) {
            host_->connect(read_peers(*message.view()));
            followers_.clear();
            const auto& names = host_->about().plan->workers();
            for (std::size_t row = 0; row < workers.size(); ++row)
              if (const auto id = *worker_id::parse(names[row]); id.kind == role::decode && id.rank != 0)
                followers_.push_back(as<decode_actor>(workers[row]));
            now("serving");
          },
          [this](const msg::status_query&) { return report(); }};
}

/// The device holds handles of this actor, and requests hold it too.
void decode_worker::on_exit() {
  host_.reset();
  sequences_.clear();
  waiting_.clear();
  followers_.clear();
}

decode_worker::sequences* decode_worker::find(scheduler::sequence_id id, std::uint32_t attempt) {
  const auto found = sequences_.find(id);
  return found != sequences_.end() && found->second.order.view()->getAttempt() == attempt ? &found->second : nullptr;
}

std::int64_t decode_worker::slices_of(std::int32_t prompt_tokens, const scheduler::decode_grant& grant) const {
  const auto& plan = *host_->about().plan;
  const auto& split = grant.samples.front().split;
  const auto blocks = scheduler::blocks_for(prompt_tokens);
  const auto copies = prompt_tokens % scheduler::block_tokens == 0 ? 0 : std::int32_t(grant.samples.size()) - 1;
  const auto last_holder = split.holder_of((blocks - 1) / scheduler::segment_blocks);
  std::int64_t slices = 0;
  for (std::int32_t rank = 0; rank < plan.layout().decode_tp; ++rank) {
    const auto spec = plan.shard_of({role::decode, 0, rank});
    const auto worker = std::size_t(spec.kv_rank());
    const auto here = split.blocks_on(worker, blocks) - split.blocks_on(worker, grant.cached_blocks) +
                      (worker == last_holder ? copies : 0);
    slices += std::int64_t(model::shape_of(plan.config(), spec)->kv_heads) * spec.num_layers() * here;
  }
  return slices;
}

void decode_worker::write_place(wire::KvPlace::Builder to, std::int32_t prompt_tokens,
                                const scheduler::decode_grant& grant) const {
  const auto& first = grant.samples.front();
  const auto blocks = unsigned(scheduler::blocks_for(prompt_tokens));
  auto list = to.initBlocks(blocks);
  for (unsigned i = 0; i < blocks; ++i) list.set(i, std::int32_t(i) < grant.cached_blocks ? -1 : first.blocks[i]);
  write_ints([&](unsigned n) { return to.initSegmentEnds(n); }, first.split.ends);
  if (prompt_tokens % scheduler::block_tokens == 0) return;
  auto copies = to.initCopies(unsigned(grant.samples.size() - 1));
  for (unsigned i = 0; i < copies.size(); ++i) copies.set(i, grant.samples[i + 1].blocks[blocks - 1]);
}

/// A part of a hand-over: slices of KV, or the first token. With the last one decoding begins.
void decode_worker::handed_over(const msg::arrival& message) {
  const auto v = message.view();
  const bool is_kv = v->which() == wire::Arrival::KV;
  const auto id = is_kv ? v->getKv().getRequest5() : v->getFirst().getRequest6();
  auto* s = find(id, is_kv ? v->getKv().getAttempt5() : v->getFirst().getAttempt6());
  if (s == nullptr) return; // over
  if (is_kv) {
    s->slices_due -= v->getKv().getSlices5();
  } else {
    s->first_tokens = read_ints(v->getFirst().getTokens6());
    s->prompt_ended_ns = v->getFirst().getEndedNs6();
  }
  if (s->slices_due > 0 || s->first_tokens.empty()) return;
  core_.start(id, s->first_tokens);
  launch_all();
  if (!core_.decodes(id)) sequences_.erase(id); // none has more to make than its first token
  grant_waiting();
}

/// A sample of a request that goes on, or all of it.
void decode_worker::forget(const msg::forget& message) {
  const auto v = message.view();
  const auto id = v->getRequest();
  if (v->getSample() < 0)
    std::erase_if(waiting_, [&](const auto& w) {
      return w.first.view()->getRequest() == id && w.first.view()->getAttempt() == v->getAttempt();
    });
  if (find(id, v->getAttempt())) {
    v->getSample() < 0 ? core_.cancel(id) : core_.cancel({id, v->getSample()});
    if (!core_.decodes(id)) sequences_.erase(id);
  }
  grant_waiting();
}

void decode_worker::reserve(const msg::reserve& message) {
  waiting_.emplace_back(message, as<request_actor>(current_sender()));
  grant_waiting();
}

/// First come, first served: the first that does not fit makes the others wait.
void decode_worker::grant_waiting() {
  while (!waiting_.empty()) {
    const auto& [message, request] = waiting_.front();
    const auto v = message.view();
    const auto id = v->getRequest();
    auto grant = core_.reserve({.id = id,
                                .prompt = read_ints(v->getTokens()),
                                .max_new_tokens = v->getMaxNewTokens(),
                                .stop_tokens = read_ints(v->getStopTokens()),
                                .samples = v->getSamples()});
    if (!grant && grant.error().code == errc::out_of_blocks) return;
    const auto prompt_tokens = std::int32_t(v->getTokens().size());
    if (grant) sequences_.insert_or_assign(id, sequences{message, request, slices_of(prompt_tokens, *grant)});
    send(request, msg::lease::make(
                      [&](wire::Lease::Builder& b) {
                        b.setRequest(id);
                        b.setAttempt(v->getAttempt());
                        if (!grant) return write(b.initProblem(), grant.error());
                        write_place(b.initTo(), prompt_tokens, *grant);
                      },
                      id, 62 + std::size_t(prompt_tokens) / scheduler::block_tokens));
    waiting_.pop_front();
  }
}

void decode_worker::launch_all() {
  for (std::int32_t m = 0; m < core_.num_micro_batches(); ++m)
    while (const auto step = core_.schedule(m)) {
      const auto message = msg::decode_step::make([&](wire::DecodeStep::Builder& b) {
        b.setNumber(step->number);
        b.setMicroBatch(std::uint32_t(m));
        auto rows = b.initRows(unsigned(step->rows.size()));
        for (unsigned i = 0; i < rows.size(); ++i) {
          const auto& row = step->rows[i];
          rows[i].setSlot(row.slot);
          rows[i].setPosition(row.position);
          rows[i].setToken(row.token);
          const auto& lease = *core_.lease_of(row.sequence);
          const auto needed = std::size_t(scheduler::blocks_for(row.position + 1));
          write_ints([&](unsigned n) { return rows[i].initBlocks(n); }, std::span(lease.blocks).first(needed));
          write_ints([&](unsigned n) { return rows[i].initSegmentEnds(n); }, lease.split.ends);
          const auto order = sequences_.at(row.sequence.id).order.view();
          write(rows[i].initSampling(), read(order->getSampling(), row.sequence.sample));
          rows[i].setOpens(row.index == 1);
          if (row.index == 1 && order->hasRules()) rows[i].setRules(order->getRules());
        }
      });
      for (const auto& follower : followers_) send(follower, message);
      execute(message);
    }
}

void decode_worker::execute(const msg::decode_step& message) {
  const auto step = message.view();
  attention_host::launch_hooks hooks;
  if (host_->about().shard->spec.tp_rank == 0)
    hooks.done = [message, self = decode_actor(this)](const model::frame& f) {
      caf::anon_send(self, msg::decode_step_done::make([&](wire::DecodeStepDone::Builder& b) {
                       const auto v = message.view();
                       b.setNumber(v->getNumber());
                       b.setMicroBatch(v->getMicroBatch());
                       auto made = b.initMade(unsigned(f.num_outputs));
                       for (unsigned i = 0; i < made.size(); ++i) write(made[i], f, std::int32_t(i));
                       b.setStartedNs(f.started_ns);
                       b.setEndedNs(steady_clock::monotonic_ns());
                     }));
    };
  host_->launch(step->getMicroBatch(), read_batch(*step, host_->about().shard->spec.kv_rank()), std::move(hooks));
}

void decode_worker::commit(const msg::decode_step_done& message) {
  const auto v = message.view();
  const auto m = std::int32_t(v->getMicroBatch());
  gaps_[std::size_t(m)].step(v->getStartedNs(), v->getEndedNs());
  std::vector<std::int32_t> tokens;
  for (const auto made : v->getMade()) tokens.push_back(made.getToken());
  const auto outcomes = core_.commit(m, v->getNumber(), tokens);
  launch_all(); // before anything else: the device must not wait for us
  if (core_.in_flight() == 0)
    for (auto& gap : gaps_) gap.rest();
  for (const auto& out : outcomes) {
    const auto id = out.sequence.id;
    auto& s = sequences_.at(id);
    if (const auto ended = std::exchange(s.prompt_ended_ns, 0); ended != 0)
      last_hand_over_ns_ = v->getStartedNs() - ended;
    send(s.request, msg::token::make(
                        [&](wire::Token::Builder& b) {
                          b.setRequest(id);
                          b.setAttempt(s.order.view()->getAttempt());
                          b.setSample(out.sequence.sample);
                          b.setIndex(out.index);
                          b.setMade(v->getMade()[unsigned(out.row)]);
                        },
                        id, 24));
  }
  for (const auto& out : outcomes) // now that all its samples' tokens are told
    if (out.end != scheduler::ending::none && !core_.decodes(out.sequence.id)) sequences_.erase(out.sequence.id);
  grant_waiting();
}

msg::status_report decode_worker::report() const {
  return msg::status_report::make([this](wire::StatusReport::Builder& b) {
    std::int64_t idle = 0, busy = 0;
    for (const auto& gap : gaps_) idle += gap.idle_ns, busy += gap.step_ns;
    write_gauges(b, {{"device_busy_seconds", busy_seconds(host_->device_times())},
                     {"decode_idle_gap_ratio", busy == 0 ? 0 : double(idle) / double(busy)},
                     {"last_hand_over_seconds", double(last_hand_over_ns_) * 1e-9},
                     {"sequences_live", double(core_.live())},
                     {"leases_waiting", double(waiting_.size())}});
    if (host_->about().shard->spec.tp_rank == 0) write_books(b.initBooks(), core_.books(), core_.in_flight());
  });
}

} // namespace quadrant::actors
