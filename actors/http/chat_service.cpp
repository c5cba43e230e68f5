#include "actors/http/chat_service.hpp"

#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "actors/http/chat_answer.hpp"
#include "actors/http/chat_request.hpp"
#include "config/clock.hpp"
#include "config/hash.hpp"
#include "config/log.hpp"
#include "config/random.hpp"

namespace quadrant::actors::http {

struct chat_service::state : around {
  explicit state(around with) : around(std::move(with)) {}
  std::set<std::string_view> logged;         ///< fields that are ignored, each said once
  std::atomic<std::size_t> waiting_bytes{0}; ///< of the bodies that the aside threads have not read
};

namespace {

/// A request that may go to the engine.
struct admission {
  chat_request request;
  std::vector<std::int32_t> prompt;
};

std::variant<admission, api_error> admit(const chat_service::state& with, std::string_view body) {
  auto parsed = parse_chat_request(body, with.text.sampling());
  if (auto* error = std::get_if<api_error>(&parsed)) return std::move(*error);
  auto& request = std::get<chat_request>(parsed);
  if (!request.model.empty() && request.model != with.model)
    return api_error{404, "no such model here; the one that is served: " + with.model, "invalid_request_error", "model",
                     "model_not_found"};

  auto prompt = with.text.chat_prompt(request.messages);
  if (!prompt) {
    auto error = to_api_error(prompt.error());
    if (error.status == 400) error.param = "messages";
    return error;
  }
  const auto positions = std::size_t(with.cluster.config().max_position_embeddings);
  const auto size = prompt->size();
  if (size == 0) return bad_request("messages", "the messages make an empty prompt");
  if (size >= positions)
    return bad_request("messages",
                       "the messages make " + std::to_string(size) + " tokens; the model reads and writes at most " +
                           std::to_string(positions),
                       "context_length_exceeded");
  if (std::size_t(request.max_new_tokens) > positions - size)
    return bad_request("max_tokens",
                       "max_tokens must be at most " + std::to_string(positions - size) + " after a prompt of " +
                           std::to_string(size) + " tokens",
                       "context_length_exceeded");
  if (!request.has_seed) request.sampling.seed = random_u64();
  return admission{std::move(request), std::move(prompt).value()};
}

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// One request and its answer. Its connection holds it until it has ended.
class exchange final : public answer_maker, public std::enable_shared_from_this<exchange> {
public:
  exchange(chat_service::state& with, const std::shared_ptr<connection>& to)
      : with_(with), to_(to), began_ns_(steady_clock::monotonic_ns()) {}

  void admitted(std::variant<admission, api_error> outcome);
  void token(std::int32_t id);
  void finished(finish why);
  void failed(const failure& why);
  /// Nobody waits for the answer any more. Any thread.
  [[nodiscard]] bool given_up() const noexcept { return given_up_.load(std::memory_order_relaxed); }
  void hung_up() override { give_up(); }
  void shutting_down() override {
    const auto self = shared_from_this();
    give_up();
    refuse(to_api_error({errc::unavailable, "the server is shutting down"}));
  }

private:
  void give_up();
  void refuse(const api_error& error);
  void send(const std::string& bytes);
  void end(outcome how);

  chat_service::state& with_;
  std::weak_ptr<connection> to_;
  std::optional<chat_answer> answer_; ///< once submitted
  std::uint64_t id_ = 0;
  bool over_ = false;
  std::atomic<bool> given_up_{false};
  std::int64_t began_ns_, first_ns_ = 0, last_ns_ = 0;
};

/// Posts to the I/O thread, and nothing else.
class posting_sink final : public token_sink {
public:
  posting_sink(std::shared_ptr<boost::asio::io_context> io, std::weak_ptr<exchange> to)
      : io_(std::move(io)), to_(std::move(to)) {}
  void token(const made_token& t) override {
    post([id = t.id](exchange& e) { e.token(id); });
  }
  void finished(std::int32_t, finish why) override {
    post([why](exchange& e) { e.finished(why); });
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
};

void exchange::admitted(std::variant<admission, api_error> outcome_of) {
  if (over_) return;
  if (const auto* error = std::get_if<api_error>(&outcome_of)) return refuse(*error);
  auto& [request, prompt] = std::get<admission>(outcome_of);
  for (const auto field : request.ignored)
    if (with_.logged.insert(field).second)
      log::info("http", field.empty() ? "requests hold fields that are not known; they are ignored"
                                      : "the field " + std::string(field) + " is ignored");

  generation what{.tokens = std::move(prompt),
                  .max_new_tokens = request.max_new_tokens,
                  .stop_tokens = {},
                  .sampling = request.sampling};
  if (!request.ignore_eos) what.stop_tokens = with_.text.stop_tokens();
  const auto prompt_tokens = std::int32_t(what.tokens.size());
  answer_.emplace(chat_answer::settings{.about = {"chatcmpl-" + to_hex(random_u64()), with_.model, unix_seconds()},
                                        .prompt_tokens = prompt_tokens,
                                        .stream = request.stream,
                                        .include_usage = request.include_usage,
                                        .stop = std::move(request.stop),
                                        .stop_tokens = what.stop_tokens},
                  with_.text.decoder());
  with_.counts.request_started(prompt_tokens);
  id_ = with_.cluster.submit(std::move(what), std::make_shared<posting_sink>(with_.io, weak_from_this()));
}

void exchange::token(std::int32_t id) {
  if (over_) return;
  last_ns_ = steady_clock::monotonic_ns();
  if (!answer_->begun()) {
    first_ns_ = last_ns_;
    with_.counts.first_token(double(first_ns_ - began_ns_) * 1e-9);
    if (answer_->stream())
      if (const auto to = to_.lock()) to->begin_events();
  }
  with_.counts.token();
  send(answer_->token(id));
  if (over_ || !answer_->over()) return; // over_: the client read too slowly, and is gone
  with_.cluster.cancel(id_);
  end(outcome::stop);
}

void exchange::finished(finish why) {
  if (over_) return;
  if (why == finish::cancelled) return failed({errc::cancelled, "the request was cancelled by the server"});
  if (answer_->stream() && !answer_->begun())
    if (const auto to = to_.lock()) to->begin_events();
  send(answer_->finished(why));
  if (!over_) end(why == finish::stop ? outcome::stop : outcome::length);
}

void exchange::failed(const failure& why) {
  if (over_) return;
  log::warn("http", "a request failed: " + std::string(to_string(why.code)));
  refuse(to_api_error(why));
}

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
  if (!over_) end(outcome::error);
  if (!to) return;
  if (!begun) return to->reply(error);
  to->send_events(answer_->broken(error));
  to->end_events(false);
}

void exchange::give_up() {
  if (over_) return;
  given_up_.store(true, std::memory_order_relaxed);
  if (answer_) with_.cluster.cancel(id_);
  end(outcome::cancelled);
}

/// The books of this request. A stream's end is said here, a whole answer has ended itself.
void exchange::end(outcome how) {
  over_ = true;
  if (!answer_) return;
  const auto tokens = answer_->used().completion_tokens;
  with_.counts.request_ended(how, tokens > 1 ? double(last_ns_ - first_ns_) * 1e-9 / (tokens - 1) : -1);
  if (how != outcome::stop && how != outcome::length) return;
  if (const auto to = to_.lock(); to && answer_->stream()) to->end_events(true);
}

} // namespace

chat_service::chat_service(around with) : state_(std::make_unique<state>(std::move(with))) {}
chat_service::~chat_service() = default;

void chat_service::answer(const std::shared_ptr<connection>& to, std::string body) {
  if (state_->waiting_bytes.load() + body.size() > state_->allowed.waiting_bytes)
    return to->reply(to_api_error({errc::unavailable, "too many prompts wait to be read; try again later"}));
  state_->waiting_bytes += body.size();
  const auto made = std::make_shared<exchange>(*state_, to);
  to->answered_by(made);
  boost::asio::post(state_->aside, [made, with = state_.get(), body = std::move(body)] {
    with->waiting_bytes -= body.size();
    if (made->given_up()) return;
    boost::asio::post(*with->io,
                      [made, outcome = admit(*with, body)]() mutable { made->admitted(std::move(outcome)); });
  });
}

} // namespace quadrant::actors::http
