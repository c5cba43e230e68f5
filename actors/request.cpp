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
      id_(spec_.view()->getId()), samples_(std::size_t(spec_.view()->getSamples())),
      open_samples_(spec_.view()->getSamples()) {}

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
      [this](cancel_atom) { cancel_all(); },
      [this](cancel_atom, std::int32_t sample) { cancel(sample); },
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
            spec_.view()->getAllLogits() ? start_prefill({}) : lease();
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
                             b.setTokens(spec->getTokens());
                             b.setMaxNewTokens(spec->getMaxNewTokens());
                             b.setStopTokens(spec->getStopTokens());
                             b.setSampling(spec->getSampling());
                             b.setSamples(spec->getSamples());
                             if (spec->hasRules()) b.setRules(spec->getRules());
                           },
                           id_, 62 + spec->totalSize().wordCount));
}

void live_request::leased(const msg::lease& message) {
  const auto v = message.view();
  if (over_ || v->getAttempt() != attempt_ || transfer_) return;
  if (const auto outcome = read(v->getProblem()); !outcome) return fail(outcome.error());
  start_prefill(v->getTo());
}

void live_request::start_prefill(std::optional<wire::KvPlace::Reader> to) {
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
             if (to) b.setTo(*to);
             b.setSamples(spec->getSamples());
             if (spec->hasRules()) b.setRules(spec->getRules());
           },
           id_, 62 + spec->totalSize().wordCount + (to ? to->totalSize().wordCount : 0)),
       caf::actor_cast<handle>(*transfer_));
}

void live_request::first_token(const msg::first_token& message) {
  const auto v = message.view();
  if (over_ || v->getAttempt() != attempt_ || begun_) return;
  for (const auto made : v->getSamples())
    if (made.getToken() < 0) return fail(no_token(0));
  if (spec_.view()->getAllLogits()) return; // the rows end it
  now("decoding");
  begun_ = true;
  sink_->prompt_read(v->getCachedTokens());
  for (std::int32_t sample = 0; sample < std::int32_t(samples_.size()) && !over_; ++sample)
    if (!samples_[std::size_t(sample)].ended) put(sample, v->getSamples()[unsigned(sample)]);
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
  if (logits_until_ == std::int32_t(spec_.view()->getTokens().size())) end(0, finish::stop);
}

void live_request::token(const msg::token& message) {
  const auto v = message.view();
  if (over_ || v->getAttempt() != attempt_) return;
  if (!std::exchange(decoding_, true))
    for (const auto sample : std::exchange(not_decoding_, {})) stop_decoding(sample);
  if (!begun_) return early_tokens_.push_back(message); // decode need not wait for us to hear of index 0
  const auto& s = samples_.at(std::size_t(v->getSample()));
  if (s.ended || v->getIndex() != std::int32_t(s.tokens.size())) return;
  if (v->getMade().getToken() < 0) return fail(no_token(v->getIndex()));
  put(v->getSample(), v->getMade());
}

void live_request::put(std::int32_t sample, wire::Made::Reader made) {
  auto& tokens = samples_[std::size_t(sample)].tokens;
  const auto index = std::int32_t(tokens.size());
  const auto id = made.getToken();
  tokens.push_back(id);
  std::vector<gpu::token_logprob> logprobs;
  for (const auto l : made.getLogprobs()) logprobs.push_back({l.getId(), l.getLogprob()});
  sink_->token({.sample = sample,
                .index = index,
                .id = id,
                .digest = made.getDigest(),
                .logprob = logprobs.empty() ? 0 : logprobs.front().logprob,
                .top = std::span(logprobs).subspan(logprobs.empty() ? 0 : 1)});
  if (const auto why = end_after(index, id)) end(sample, *why);
}

failure live_request::no_token(std::int32_t index) const {
  const bool has_form = spec_.view()->hasRules() && spec_.view()->getRules().getJsonObject();
  return {errc::numeric, "a NaN or Inf reached the logits of token " + std::to_string(index) +
                             (has_form ? ", or no token goes on with the JSON object" : "")};
}

std::optional<finish> live_request::end_after(std::int32_t index, std::int32_t id) const {
  const auto spec = spec_.view();
  for (const auto stop : spec->getStopTokens())
    if (stop == id) return finish::stop;
  if (index + 1 >= spec->getMaxNewTokens()) return finish::length;
  return std::nullopt;
}

void live_request::end(std::int32_t sample, finish why) {
  auto& s = samples_[std::size_t(sample)];
  if (over_ || std::exchange(s.ended, true)) return;
  over_ = --open_samples_ == 0;
  if (over_) {
    now(why == finish::cancelled ? "cancelled" : "done");
    give_back(); // first: a sink may throw
  }
  sink_->finished(sample, why);
  if (over_) quit();
}

void live_request::cancel_all() {
  for (std::int32_t sample = 0; sample < std::int32_t(samples_.size()); ++sample) end(sample, finish::cancelled);
}

void live_request::cancel(std::int32_t sample) {
  if (sample < 0 || sample >= std::int32_t(samples_.size())) return;
  end(sample, finish::cancelled);
  if (over_) return;
  if (decoding_)
    stop_decoding(sample);
  else
    not_decoding_.push_back(sample); // its KV may be on the way
}

void live_request::stop_decoding(std::int32_t sample) {
  send(around_.decode, msg::forget::make([&](wire::Forget::Builder& b) {
         b.setRequest(id_);
         b.setAttempt(attempt_);
         b.setSample(sample);
       }));
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
