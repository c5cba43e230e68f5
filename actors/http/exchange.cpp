#include "actors/http/exchange.hpp"

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "config/clock.hpp"
#include "config/log.hpp"

namespace quadrant::actors::http {
namespace {

double seconds(std::int64_t from_ns, std::int64_t to_ns) { return double(to_ns - from_ns) * 1e-9; }
outcome outcome_of(std::string_view finish_reason) {
  return finish_reason == "length" ? outcome::length : outcome::stop;
}

} // namespace

/// A token that may wait: it owns its logprobs.
struct exchange::owned_token {
  explicit owned_token(const made_token& t) : made(t), top(t.top.begin(), t.top.end()) {}
  [[nodiscard]] made_token view() const {
    auto t = made;
    t.top = top;
    return t;
  }
  made_token made;
  std::vector<gpu::token_logprob> top;
};

/// Posts to the I/O thread, and nothing else.
class exchange::posting_sink final : public token_sink {
public:
  posting_sink(std::shared_ptr<boost::asio::io_context> io, std::weak_ptr<exchange> to, std::int32_t prompt)
      : io_(std::move(io)), to_(std::move(to)), prompt_(prompt) {}
  void prompt_read(std::int32_t cached_tokens) override {
    post([p = prompt_, cached_tokens](exchange& e) { e.prompt_read(p, cached_tokens); });
  }
  void token(const made_token& t) override {
    post([p = prompt_, own = owned_token(t)](exchange& e) { e.token(p, own); });
  }
  void finished(std::int32_t sample, finish why) override {
    post([p = prompt_, sample, why](exchange& e) { e.finished(p, sample, why); });
  }
  void failed(const failure& why) override {
    post([why](exchange& e) { e.failed(why); });
  }

private:
  template <class Call>
  void post(Call call) {
    boost::asio::post(*io_, [to = to_, call = std::move(call)] {
      if (const auto alive = to.lock()) call(*alive);
    });
  }
  std::shared_ptr<boost::asio::io_context> io_;
  std::weak_ptr<exchange> to_;
  std::int32_t prompt_;
};

exchange::exchange(around& with, const std::shared_ptr<connection>& to)
    : with_(with), to_(to), name_(to->request_id()), endpoint_(to->endpoint()),
      began_ns_(steady_clock::monotonic_ns()) {}

void exchange::admitted(std::variant<admission, api_error> decided) {
  if (over_) return;
  if (const auto* error = std::get_if<api_error>(&decided)) return refuse(*error);
  auto& [work, form, ignored] = std::get<admission>(decided);
  for (const auto field : ignored)
    if (with_.logged.insert(field).second)
      log::info("http", field.empty() ? "requests hold fields that are not known; they are ignored"
                                      : "the field " + std::string(field) + " is ignored");

  last_ns_.resize(std::size_t(form.prompts) * std::size_t(form.samples));
  answer_.emplace(std::move(form), with_.model.text);
  with_.counts.request_started(answer_->used().prompt_tokens);
  for (auto& one : work) {
    const auto prompt = std::int32_t(ids_.size());
    sizes_.push_back(std::int32_t(one.tokens.size()));
    ids_.push_back(
        with_.cluster.submit(std::move(one), std::make_shared<posting_sink>(with_.io, weak_from_this(), prompt)));
  }
}

// ---- what comes --------------------------------------------------------------------------------------------------

void exchange::note_begun() {
  if (!std::exchange(begun_, true)) with_.counts.request_begun();
}

void exchange::prompt_read(std::int32_t prompt, std::int32_t cached_tokens) {
  if (over_) return;
  note_begun();
  with_.counts.prompt_read(sizes_[std::size_t(prompt)], cached_tokens);
  answer_->prompt_read(cached_tokens);
}

void exchange::note_token(std::int32_t prompt, std::int32_t sample) {
  note_begun();
  latest_ns_ = steady_clock::monotonic_ns();
  if (!answer_->begun()) {
    first_ns_ = latest_ns_;
    with_.counts.first_token(seconds(began_ns_, first_ns_));
    if (answer_->stream())
      if (const auto to = to_.lock()) to->begin_events();
  }
  auto& last = last_ns_[std::size_t(prompt) * (last_ns_.size() / ids_.size()) + std::size_t(sample)];
  with_.counts.token(last == 0 ? -1 : seconds(last, latest_ns_));
  last = latest_ns_;
}

void exchange::token(std::int32_t prompt, const owned_token& t) {
  const auto sample = t.made.sample;
  if (over_ || answer_->choice_over(prompt, sample)) return;
  note_token(prompt, sample);
  send(answer_->token(prompt, t.view()));
  if (over_ || !answer_->choice_over(prompt, sample)) return; // over_: the client read too slowly, and is gone
  const auto id = ids_[std::size_t(prompt)];
  if (answer_->prompt_over(prompt))
    with_.cluster.cancel(id);
  else
    with_.cluster.cancel(id, sample);
  if (answer_->over()) end(outcome_of(answer_->finish_reason()), 200);
}

void exchange::finished(std::int32_t prompt, std::int32_t sample, finish why) {
  if (over_ || answer_->choice_over(prompt, sample)) return;
  if (why == finish::cancelled) return failed({errc::cancelled, "the request was cancelled by the server"});
  if (answer_->stream() && !answer_->begun())
    if (const auto to = to_.lock()) to->begin_events();
  send(answer_->finished(prompt, sample, why));
  if (!over_ && answer_->over()) end(outcome_of(answer_->finish_reason()), 200);
}

void exchange::failed(const failure& why) {
  if (over_) return;
  log::warn("http", "request " + name_ + " failed: " + std::string(to_string(why.code)));
  if (ids_.size() > 1 || last_ns_.size() > 1) cancel_all();
  refuse(to_api_error(why));
}

// ---- what is sent ------------------------------------------------------------------------------------------------

/// The bytes of a stream, or the whole answer.
void exchange::send(const std::string& bytes) {
  const auto to = to_.lock();
  if (!to || bytes.empty()) return;
  if (answer_->stream())
    to->send_events(bytes);
  else
    to->reply({.body = bytes});
}

void exchange::refuse(const api_error& error) {
  const auto to = to_.lock();
  const bool begun = answer_ && answer_->stream() && answer_->begun();
  if (!over_) end(outcome::error, error.status);
  if (!to) return;
  if (!begun) return to->reply(error);
  to->send_events(answer::broken(error));
  to->end_events(false);
}

void exchange::cancel_all() {
  for (const auto id : ids_) with_.cluster.cancel(id);
}

void exchange::give_up(int status) {
  if (over_) return;
  given_up_.store(true, std::memory_order_relaxed);
  cancel_all();
  end(outcome::cancelled, status);
}

void exchange::shutting_down() {
  const auto self = shared_from_this();
  const auto error = to_api_error({errc::unavailable, "the server is shutting down"});
  give_up(error.status);
  refuse(error);
}

/// The books of this request. A stream's end is said here, a whole answer has ended itself.
void exchange::end(outcome how, int status) {
  over_ = true;
  const bool whole = how == outcome::stop || how == outcome::length;
  log_line(whole ? answer_->finish_reason() : to_string(how), status);
  if (!answer_) return;
  const auto now = steady_clock::monotonic_ns();
  const auto tokens = answer_->used().completion_tokens;
  with_.counts.request_ended(
      {.how = how,
       .begun = begun_,
       .seconds = seconds(began_ns_, now),
       .seconds_per_token = tokens > 1 && last_ns_.size() == 1 ? seconds(first_ns_, latest_ns_) / (tokens - 1) : -1});
  if (!whole) return;
  if (const auto to = to_.lock(); to && answer_->stream()) to->end_events(true);
}

void exchange::log_line(std::string_view finish, int status) const {
  const auto now = steady_clock::monotonic_ns();
  const auto used = answer_ ? answer_->used() : usage{};
  const auto ms = [&](std::int64_t ns) { return ns == 0 ? 0 : (ns - began_ns_) / 1'000'000; };
  log::info("http", "request",
            {{"id", name_},
             {"endpoint", endpoint_},
             {"status", status},
             {"finish", finish},
             {"prompt_tokens", used.prompt_tokens},
             {"cached_tokens", used.cached_tokens},
             {"completion_tokens", used.completion_tokens},
             {"choices", last_ns_.size()},
             {"ttft_ms", ms(first_ns_)},
             {"e2e_ms", ms(now)}});
}

} // namespace quadrant::actors::http
