#include "actors/http/server.hpp"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "actors/http/chat_reply.hpp"
#include "actors/http/chat_service.hpp"
#include "actors/http/connection.hpp"
#include "actors/http/metrics.hpp"
#include "config/log.hpp"

namespace quadrant::actors::http {

namespace asio = boost::asio;
using asio::ip::tcp;

class http_server::core final : public connection::owner {
public:
  core(server_options options, engine& cluster, chat_text text)
      : options_(std::move(options)), cluster_(cluster), service_({.io = io_,
                                                                   .aside = aside_,
                                                                   .cluster = cluster,
                                                                   .counts = metrics_,
                                                                   .allowed = options_.allowed,
                                                                   .text = std::move(text),
                                                                   .model = options_.model}) {}
  ~core() override { stop(); }

  result<void> listen();
  void run();
  std::size_t drain(std::chrono::milliseconds patience);
  [[nodiscard]] std::uint16_t port() const { return port_; }

private:
  using connection_ref = std::shared_ptr<connection>;

  void requested(const connection_ref& from, http_request what) override;
  void responded(int status) override { metrics_.response(status); }
  void closed(const connection_ref& which) override;

  void accept();
  void take(tcp::socket socket);
  void tick();
  void reply_to_get(const connection_ref& from, const std::string& path);
  void with_status(std::function<void(const cluster_status&)> use);
  void each(const std::function<void(connection&)>& call);
  bool wait_until_quiet(std::chrono::milliseconds patience);
  void stop();

  const server_options options_;
  engine& cluster_;
  metrics metrics_;
  std::shared_ptr<asio::io_context> io_ = std::make_shared<asio::io_context>(1);
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(*io_);
  asio::thread_pool aside_{2}, asking_{1};
  tcp::acceptor acceptor_{*io_};
  asio::steady_timer timer_{*io_};
  chat_service service_;
  std::set<connection_ref> connections_;
  std::vector<std::function<void(const cluster_status&)>> waiting_; ///< for one status, which is on its way
  const std::int64_t started_ =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::uint16_t port_ = 0;
  bool draining_ = false, resting_ = false; ///< resting_: accept failed, and is tried again at the next tick
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable quiet_changed_;
  bool quiet_ = false; ///< draining, and no connection is left
};

// ---- life --------------------------------------------------------------------------------------------------------

result<void> http_server::core::listen() {
  boost::system::error_code code;
  const auto address = asio::ip::make_address(options_.host == "localhost" ? "127.0.0.1" : options_.host, code);
  if (code)
    return {errc::invalid_argument, "the host must be an address of this machine, as 127.0.0.1, not " + options_.host};
  const tcp::endpoint at(address, options_.port);
  acceptor_.open(at.protocol(), code);
  if (!code) acceptor_.set_option(tcp::acceptor::reuse_address(true), code);
  if (!code) acceptor_.bind(at, code);
  if (!code) acceptor_.listen(asio::socket_base::max_listen_connections, code);
  if (code)
    return {errc::unavailable, "cannot listen on " + options_.host + " port " + std::to_string(options_.port) + ": " +
                                   code.message() + "; choose another port"};
  port_ = acceptor_.local_endpoint().port();
  return {};
}

void http_server::core::run() {
  accept();
  tick();
  thread_ = std::thread([this] { io_->run(); });
}

std::size_t http_server::core::drain(std::chrono::milliseconds patience) {
  asio::post(*io_, [this] {
    if (std::exchange(draining_, true)) return;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    each([](connection& c) { c.drain(); });
    const std::lock_guard hold(mutex_);
    quiet_ = connections_.empty();
    quiet_changed_.notify_all();
  });
  if (wait_until_quiet(patience)) return 0;
  std::size_t ended = 0; // read after the wait for a later event of the same thread
  asio::post(*io_, [this, &ended] {
    each([&](connection& c) {
      ended += c.answering() ? 1 : 0;
      c.end_answer();
    });
  });
  wait_until_quiet(std::chrono::milliseconds(options_.allowed.linger_ms));
  asio::post(*io_, [this] { each([](connection& c) { c.close(); }); });
  wait_until_quiet(std::chrono::hours(1));
  if (ended > 0) log::warn("http", "answers ended before their time: " + std::to_string(ended));
  return ended;
}

bool http_server::core::wait_until_quiet(std::chrono::milliseconds patience) {
  std::unique_lock hold(mutex_);
  return quiet_changed_.wait_for(hold, patience, [this] { return quiet_; });
}

void http_server::core::stop() {
  if (!thread_.joinable()) return;
  drain(std::chrono::milliseconds(0));
  aside_.join(); // what they do may still be posted
  asking_.join();
  asio::post(*io_, [this] { timer_.cancel(); });
  work_.reset();
  thread_.join();
}

// ---- connections -------------------------------------------------------------------------------------------------

void http_server::core::accept() {
  acceptor_.async_accept([this](const boost::system::error_code& code, tcp::socket socket) {
    if (draining_) return;
    if (code) {
      resting_ = true; // out of file descriptors, perhaps: not in a tight loop
      return log::warn("http", "a connection could not be taken: " + code.message());
    }
    take(std::move(socket));
    accept();
  });
}

void http_server::core::take(tcp::socket socket) {
  if (connections_.size() >= options_.allowed.connections) {
    metrics_.response(503);
    const auto body = error_body(to_api_error({errc::unavailable, "too many connections; try again later"}));
    const auto text = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: "
                      "1\r\nConnection: close\r\nContent-Length: " +
                      std::to_string(body.size()) + "\r\n\r\n" + body;
    boost::system::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.send(asio::buffer(text), 0, ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
    return;
  }
  const auto made = std::make_shared<connection>(std::move(socket), options_.allowed, *this);
  connections_.insert(made);
  metrics_.connections(std::int64_t(connections_.size()));
  made->start();
}

void http_server::core::closed(const connection_ref& which) {
  connections_.erase(which);
  metrics_.connections(std::int64_t(connections_.size()));
  if (!draining_ || !connections_.empty()) return;
  const std::lock_guard hold(mutex_);
  quiet_ = true;
  quiet_changed_.notify_all();
}

void http_server::core::each(const std::function<void(connection&)>& call) {
  const std::vector<connection_ref> all(connections_.begin(), connections_.end()); // a call may close its connection
  for (const auto& one : all) call(*one);
}

void http_server::core::tick() {
  const auto& a = options_.allowed;
  const auto shortest = std::min({a.idle_ms, a.head_ms, a.body_ms, a.stall_ms, a.linger_ms});
  timer_.expires_after(std::chrono::milliseconds(std::clamp<std::int64_t>(shortest / 4, 5, 1000)));
  timer_.async_wait([this](const boost::system::error_code& code) {
    if (code) return;
    const auto now = now_ms();
    each([now](connection& c) { c.tick(now); });
    if (std::exchange(resting_, false) && !draining_) accept();
    tick();
  });
}

// ---- requests ----------------------------------------------------------------------------------------------------

void http_server::core::requested(const connection_ref& from, http_request what) {
  const bool chat = what.path == "/v1/chat/completions";
  const bool get = what.path == "/v1/models" || what.path.starts_with("/v1/models/") || what.path == "/health" ||
                   what.path == "/metrics";
  if (!chat && !get) return from->reply(api_error{404, "no such path here", "invalid_request_error", {}, "not_found"});
  if (chat ? what.method != "POST" : what.method != "GET" && what.method != "HEAD") {
    const api_error wrong{405,
                          std::string("this path takes ") + (chat ? "POST" : "GET"),
                          "invalid_request_error",
                          {},
                          "method_not_allowed"};
    return from->reply({.status = wrong.status,
                        .body = error_body(wrong),
                        .fields = chat ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n"});
  }
  if (chat)
    service_.answer(from, std::move(what.body));
  else
    reply_to_get(from, what.path);
}

void http_server::core::reply_to_get(const connection_ref& from, const std::string& path) {
  const auto positions = cluster_.config().max_position_embeddings;
  if (path == "/v1/models") return from->reply({.body = models_body(options_.model, started_, positions)});
  if (path == "/health")
    return with_status([this, from](const cluster_status& now) {
      if (now.serving && !draining_) return from->reply({.body = "{\"status\":\"ok\"}"});
      const auto why = draining_          ? "the server is shutting down"
                       : now.note.empty() ? "the cluster is not serving"
                                          : now.note;
      from->reply(to_api_error({errc::unavailable, why}));
    });
  if (path == "/metrics")
    return with_status([this, from](const cluster_status& now) {
      from->reply({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_.text(now)});
    });
  if (path == "/v1/models/" + options_.model)
    return from->reply({.body = model_body(options_.model, started_, positions)});
  from->reply(api_error{404, "no such model here; the one that is served: " + options_.model, "invalid_request_error",
                        "model", "model_not_found"});
}

/// The cluster is asked by a thread that may wait; who asks meanwhile shares the answer.
void http_server::core::with_status(std::function<void(const cluster_status&)> use) {
  waiting_.push_back(std::move(use));
  if (waiting_.size() > 1) return;
  asio::post(asking_, [this] {
    asio::post(*io_, [this, now = cluster_.status()] {
      for (const auto& waiter : std::exchange(waiting_, {})) waiter(now);
    });
  });
}

// ---- the handle --------------------------------------------------------------------------------------------------

result<std::unique_ptr<http_server>> http_server::start(server_options options, engine& cluster, chat_text text) {
  auto made = std::make_unique<core>(std::move(options), cluster, std::move(text));
  QUADRANT_TRY_VOID(made->listen());
  made->run();
  return std::unique_ptr<http_server>(new http_server(std::move(made)));
}

http_server::http_server(std::unique_ptr<core> c) : core_(std::move(c)) {}
http_server::~http_server() = default;

std::uint16_t http_server::port() const { return core_->port(); }
std::size_t http_server::drain(std::chrono::milliseconds patience) { return core_->drain(patience); }

} // namespace quadrant::actors::http
