#include "actors/loadgen/generator.hpp"

#include <algorithm>
#include <chrono>
#include <exception>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/resource.h>

#include "actors/loadgen/answer_meter.hpp"
#include "config/clock.hpp"

namespace quadrant::actors::loadgen {

namespace asio = boost::asio;

namespace {

constexpr std::size_t at_a_time = 64; // requests that are due are released together; then streams have their turn
constexpr auto watch_period = std::chrono::milliseconds(50);
constexpr auto waiting = asio::as_tuple(asio::use_awaitable);

/// For coroutines that nobody waits for: what they throw leaves io_context::run.
void rethrow(const std::exception_ptr& thrown) {
  if (thrown) std::rethrow_exception(thrown);
}

} // namespace

generator::generator(asio::io_context& io, client& to, run_options options)
    : io_(io), client_(to), options_(std::move(options)), release_timer_(io), watch_timer_(io) {
  const auto& planned = options_.plan.requests;
  tally_.total = planned.size();
  record_.requests.resize(planned.size());
  for (std::size_t i = 0; i < planned.size(); ++i) {
    auto& r = record_.requests[i];
    r.scheduled_ns = planned[i].at_ns;
    r.input_asked = planned[i].input_tokens;
    r.output_asked = planned[i].output_tokens;
  }
}

run_record generator::run() {
  io_.restart();
  asio::co_spawn(io_, release(), rethrow);
  asio::co_spawn(io_, watch(), rethrow);
  io_.run();
  return std::move(record_);
}

std::int64_t generator::now() const { return steady_clock::monotonic_ns() - start_ns_; }

std::string generator::body_of(std::size_t index) const {
  return options_.form.streamed(options_.prompt(index), options_.plan.requests[index].output_tokens);
}

asio::awaitable<void> generator::release() {
  const auto count = record_.requests.size();
  auto body = count == 0 ? std::string() : body_of(0);
  start_ns_ = steady_clock::monotonic_ns();
  for (std::size_t i = 0; i < count; ++i) {
    if (record_.requests[i].scheduled_ns > now() || i % at_a_time == 0) {
      const auto at = std::chrono::nanoseconds(start_ns_ + record_.requests[i].scheduled_ns);
      release_timer_.expires_at(std::chrono::steady_clock::time_point(at));
      co_await release_timer_.async_wait(waiting);
    }
    if (record_.interrupted) break;
    record_.max_lag_ns = std::max(record_.max_lag_ns, now() - record_.requests[i].scheduled_ns);
    if (options_.max_concurrency == 0 || tally_.in_flight < options_.max_concurrency)
      begin(i, std::move(body));
    else
      waiting_.push_back(i);
    body = i + 1 < count ? body_of(i + 1) : std::string(); // while nothing is due
  }
  released_ = true;
  look_at_end();
}

void generator::begin(std::size_t index, std::string body) {
  record_.max_in_flight = std::max(record_.max_in_flight, ++tally_.in_flight);
  asio::co_spawn(io_, one(index, std::move(body)), rethrow);
}

asio::awaitable<void> generator::one(std::size_t index, std::string body) {
  if (record_.interrupted) { // since it was begun
    --tally_.in_flight;
    look_at_end();
    co_return;
  }
  auto& r = record_.requests[index];
  r.sent_ns = now();
  answer_meter meter(r);
  client::piece_sink sink = [this, &meter](const response_reader& head, std::string_view piece, std::int64_t at_ns) {
    meter.take(head, piece, at_ns - start_ns_);
  };
  const auto how = co_await client_.send(options_.form.path(), std::move(body), options_.timeout_ns, std::move(sink));
  meter.finish(how, now());
  --tally_.in_flight;
  ++tally_.ended;
  tally_.failed += r.failed();
  tally_.pieces += r.chunks();
  record_.duration_ns = std::max(record_.duration_ns, now());
  if (!waiting_.empty() && !record_.interrupted) {
    const auto next = waiting_.front();
    waiting_.pop_front();
    begin(next, body_of(next));
  }
  look_at_end();
}

asio::awaitable<void> generator::watch() {
  while (!ended_) {
    watch_timer_.expires_after(watch_period);
    co_await watch_timer_.async_wait(waiting);
    tally_.waiting = waiting_.size();
    if (options_.progress) options_.progress(tally_);
    if (!record_.interrupted && options_.stop && options_.stop()) interrupt();
  }
}

void generator::interrupt() {
  record_.interrupted = true;
  record_.duration_ns = now();
  release_timer_.cancel();
  client_.cancel_all();
}

void generator::look_at_end() {
  ended_ = released_ && tally_.in_flight == 0 && (waiting_.empty() || record_.interrupted);
  if (ended_) watch_timer_.cancel();
}

void allow_many_sockets() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files); // where it fails, connections will say so
}

} // namespace quadrant::actors::loadgen
