#include "actors/request.hpp"

#include "actors/kv_transfer.hpp"
#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

constexpr auto admit_timeout = std::chrono::seconds(10);

} // namespace

live_request::live_request(caf::actor_config& config, msg::request_spec spec, serving_view around,
                           std::shared_ptr<token_sink> sink)
    : observed(config, "request"), spec_(std::move(spec)), around_(std::move(around)), sink_(std::move(sink)),
      id_(spec_.view()->getId()) {}

live_request::behavior_type live_request::make_behavior() {
  now("admitting");
  send(this, begin_atom::value);
  return {
      [this](const msg::lease& message) { leased(message); },
      [this](const msg::first_token& message) { first_token(message); },
      [this](const msg::logit_rows& message) { logits(message); },
      [this](const msg::hand_over_failed& message) {
        if (message.view()->getAttempt() == attempt_) fail(read(message.view()->getProblem()).error());
      },
      [this](const msg::token& message) { token(message); },
      [this](const msg::worker_down& message) {
        const auto v = message.view();
        fail({errc::peer_lost, std::string("worker ") + v->getName().cStr() + " was lost: " + v->getReason().cStr()});
      },
      [this](begin_atom) { admit(); },
      [this](cancel_atom) { end(finish::cancelled); },
      [this](timeout_atom) {
        fail({errc::deadline, "the request took longer than its deadline"});
      }};
}

void live_request::admit() {
  const auto spec = spec_.view();
  const auto message = msg::admit::make(
      [&](wire::Admit::Builder& b) {
        b.setRequest(id_);
        b.setPromptTokens(std::int32_t(spec->getTokens().size()));
        b.setMaxNewTokens(spec->getMaxNewTokens());
      },
      id_);
  asked_router_ = true; // from now on it may count us
  request(around_.router, admit_timeout, message)
      .then(
          [this](const msg::route& route) {
            if (over_) return;
            const auto v = route.view();
            if (const auto outcome = read(v->getProblem()); !outcome) return fail(outcome.error());
            spec_.view()->getAllLogits() ? start_prefill({}, {}) : lease();
          },
          [this](const caf::error&) {
            fail({errc::unavailable, "the router does not answer"});
          });
}

void live_request::lease() {
  now("leasing");
  const auto spec = spec_.view();
  leased_ = true;
  send(around_.decode, msg::reserve::make(
                           [&](wire::Reserve::Builder& b) {
                             b.setRequest(id_);
                             b.setAttempt(attempt_);
                             b.setPromptTokens(std::int32_t(spec->getTokens().size()));
                             b.setMaxNewTokens(spec->getMaxNewTokens());
                             b.setStopTokens(spec->getStopTokens());
                             b.setSampling(spec->getSampling());
                           },
                           id_));
}

void live_request::leased(const msg::lease& message) {
  const auto v = message.view();
  if (over_ || v->getAttempt() != attempt_ || transfer_) return;
  if (const auto outcome = read(v->getProblem()); !outcome) return fail(outcome.error());
  start_prefill(read_ints(v->getBlocks()), {read_ints(v->getSegmentEnds())});
}

void live_request::start_prefill(const std::vector<std::int32_t>& decode_blocks, const scheduler::kv_split& split) {
  now("prefilling");
  const auto spec = spec_.view();
  transfer_ = spawn<kv_transfer>(kv_transfer::order{.request = id_,
                                                    .attempt = attempt_,
                                                    .plan = around_.plan,
                                                    .workers = around_.workers,
                                                    .prompt_tokens = std::int32_t(spec->getTokens().size()),
                                                    .owner = this,
                                                    .planner = around_.planner,
                                                    .decode = around_.decode});
  send(around_.planner,
       msg::prefill::make(
           [&](wire::Prefill::Builder& b) {
             b.setRequest(id_);
             b.setAttempt(attempt_);
             b.setTokens(spec->getTokens());
             b.setSampling(spec->getSampling());
             b.setAllLogits(spec->getAllLogits());
             write_ints([&](unsigned n) { return b.initBlocks(n); }, decode_blocks);
             write_ints([&](unsigned n) { return b.initSegmentEnds(n); }, split.ends);
           },
           id_, 62 + (spec->getTokens().size() + decode_blocks.size()) / 2),
       caf::actor_cast<handle>(*transfer_));
}

void live_request::first_token(const msg::first_token& message) {
  const auto v = message.view();
  if (over_ || v->getAttempt() != attempt_ || !tokens_.empty()) return;
  if (v->getToken() < 0) return fail({errc::numeric, "a NaN or Inf reached the logits of the prompt"});
  if (spec_.view()->getAllLogits()) return; // the rows end it
  put(0, v->getToken(), v->getDigest());
  if (const auto why = end_after(0, v->getToken())) return end(*why);
  now("decoding");
  for (const auto& early : std::exchange(early_tokens_, {})) token(early);
}

/// Rows of later chunks wait for those before them: a short micro-batch may overtake a long one.
void live_request::logits(const msg::logit_rows& message) {
  if (over_ || message.view()->getAttempt() != attempt_) return;
  early_logits_.emplace(message.view()->getFirstPosition(), message);
  for (auto next = early_logits_.begin(); next != early_logits_.end() && next->first <= logits_until_;
       next = early_logits_.erase(next)) {
    if (next->first < logits_until_) continue; // known
    const auto v = next->second.view();
    const auto rows = v->getRows();
    const auto count = rows.size() / sizeof(float);
    sink_->logits(logits_until_, v->getVocabulary(), {reinterpret_cast<const float*>(rows.begin()), count});
    logits_until_ += std::int32_t(count) / v->getVocabulary();
  }
  if (logits_until_ == std::int32_t(spec_.view()->getTokens().size())) end(finish::stop);
}

void live_request::token(const msg::token& message) {
  const auto v = message.view();
  if (over_ || v->getAttempt() != attempt_) return;
  if (tokens_.empty()) return early_tokens_.push_back(message); // decode need not wait for us to hear of index 0
  if (v->getIndex() != std::int32_t(tokens_.size())) return;
  if (v->getToken() < 0)
    return fail({errc::numeric, "a NaN or Inf reached the logits of token " + std::to_string(v->getIndex())});
  put(v->getIndex(), v->getToken(), v->getDigest());
  if (const auto why = end_after(v->getIndex(), v->getToken())) end(*why);
}

void live_request::put(std::int32_t index, std::int32_t id, std::uint64_t digest) {
  tokens_.push_back(id);
  sink_->token({.index = index, .id = id, .digest = digest});
}

std::optional<finish> live_request::end_after(std::int32_t index, std::int32_t id) const {
  const auto spec = spec_.view();
  for (const auto stop : spec->getStopTokens())
    if (stop == id) return finish::stop;
  if (index + 1 >= spec->getMaxNewTokens()) return finish::length;
  return std::nullopt;
}

void live_request::end(finish why) {
  if (over_) return;
  over_ = true;
  now(why == finish::cancelled ? "cancelled" : "done");
  give_back(); // first: a sink may throw
  sink_->finished(0, why);
  quit();
}

void live_request::fail(const failure& why) {
  if (over_) return;
  over_ = true;
  now("failed");
  give_back();
  sink_->failed(why);
  quit();
}

/// Whatever ends it, its client hears of it and the cluster gets back what it holds; and the handles that make a cycle
/// with the hand-over go.
void live_request::on_exit() {
  if (!std::exchange(over_, true)) {
    give_back();
    try {
      sink_->failed({errc::cancelled, "the process is shutting down, or the sink has thrown"});
    } catch (...) { // the sink is an embedder's; nobody is left to hear of it
    }
  }
  transfer_.reset();
  around_ = {};
}

/// Gives back what the cluster holds for this request. With a hand-over under way, that is the hand-over's to do.
void live_request::give_back() {
  const auto forget = msg::forget::make([&](wire::Forget::Builder& b) {
    b.setRequest(id_);
    b.setAttempt(attempt_);
  });
  if (asked_router_) send(around_.router, forget);
  if (transfer_)
    send(*transfer_, forget);
  else if (leased_)
    send(around_.decode, forget);
}

} // namespace quadrant::actors
