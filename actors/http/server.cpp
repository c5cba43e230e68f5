#include "actors/http/server.hpp"

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <future>
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

#include "actors/http/answer_service.hpp"
#include "actors/http/connection.hpp"
#include "actors/http/metrics.hpp"
#include "actors/http/reply_parts.hpp"
#include "actors/http/request_id.hpp"
#include "config/log.hpp"
#include "config/progress.hpp"

namespace quadrant::actors::http {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

/// What clients may ask for. The paths are labels of metrics too.
struct route {
  std::string_view path;
  bool post = false;
  bool open = false; ///< needs neither a key nor a model
};
constexpr route routes[] = {{"/v1/chat/completions", true},
                            {"/v1/completions", true},
                            {"/tokenize", true},
                            {"/detokenize", true},
                            {"/v1/models"},
                            {"/health", false, true},
                            {"/metrics", false, true},
                            {"/version", false, true}};
constexpr std::string_view model_path = "/v1/models/";

const route* route_of(std::string_view path) {
  if (path.starts_with(model_path)) path = "/v1/models";
  const auto* const found = std::ranges::find(routes, path, &route::path);
  return found == std::end(routes) ? nullptr : found;
}

api_error still_loading() { return to_api_error({errc::unavailable, "the model is still being loaded"}); }

/// The body of GET /health where it is not 200.
std::string health_body(const char* status, const api_error& why) {
  nlohmann::ordered_json body = {{"status", status}};
  if (const auto far = progress::now(); far && status == std::string_view("loading"))
    body["progress"] = {{"what", far->what}, {"done", far->done}, {"total", far->total}, {"unit", far->unit}};
  body.update(error_json(why));
  return dump(body);
}

} // namespace

class http_server::core final : public connection::owner {
public:
  explicit core(server_options options) : options_(std::move(options)), metrics_(options_.model) {}
  ~core() override { stop(); }

  result<void> listen();
  void run();
  void serve(engine& cluster, chat_text text);
  std::size_t drain(std::chrono::milliseconds patience);
  [[nodiscard]] std::uint16_t port() const { return port_; }

private:
  using connection_ref = std::shared_ptr<connection>;

  void requested(const connection_ref& from, http_request what) override;
  void responded(std::string_view endpoint, int status) override { metrics_.response(endpoint, status); }
  void closed(const connection_ref& which) override;

  void accept();
  void take(tcp::socket socket);
  void tick();
  void route_post(const connection_ref& from, std::string_view path, std::string body);
  void reply_to_get(const connection_ref& from, const std::string& path);
  void reply_health(const connection_ref& from);
  void reply_model(const connection_ref& from, const std::string& path);
  void with_status(std::function<void(const cluster_status&)> use);
  void each(const std::function<void(connection&)>& call);
  bool wait_until_quiet(std::chrono::milliseconds patience);
  void stop();

  const server_options options_;
  engine* cluster_ = nullptr; ///< once there is one
  metrics metrics_;
  std::shared_ptr<asio::io_context> io_ = std::make_shared<asio::io_context>(1);
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(*io_);
  asio::thread_pool aside_{2}, asking_{1};
  tcp::acceptor acceptor_{*io_};
  asio::steady_timer timer_{*io_};
  std::unique_ptr<answer_service> service_; ///< once there is a model
  std::set<connection_ref> connections_;
  std::vector<std::function<void(const cluster_status&)>> waiting_; ///< for one status, which is on its way
  const std::int64_t started_ =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  std::uint16_t port_ = 0;
  bool draining_ = false, stopped_ = false; ///< stopped_: no further tick
  bool resting_ = false;                    ///< accept failed, and is tried again at the next tick
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

void http_server::core::serve(engine& cluster, chat_text text) {
  served_model model(std::move(text), cluster.config(), options_.model);
  std::promise<void> served;
  asio::post(*io_, [&] {
    cluster_ = &cluster;
    service_ = std::make_unique<answer_service>(
        exchange::around{.io = io_, .cluster = cluster, .counts = metrics_, .model = std::move(model)}, aside_,
        options_.allowed);
    served.set_value();
  });
  served.get_future().wait();
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
  asio::post(*io_, [this] {
    stopped_ = true; // a tick that is due already cannot be cancelled
    timer_.cancel();
  });
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
    metrics_.response("none", 503);
    const auto body = error_body(to_api_error({errc::unavailable, "too many connections; try again later"}));
    const auto text = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
                      "X-Request-Id: " +
                      request_id_of({}) + "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
                      "\r\n\r\n" + body;
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
    if (code || stopped_) return;
    const auto now = now_ms();
    each([now](connection& c) { c.tick(now); });
    if (std::exchange(resting_, false) && !draining_) accept();
    tick();
  });
}

// ---- requests ----------------------------------------------------------------------------------------------------

void http_server::core::requested(const connection_ref& from, http_request what) {
  const auto* const to = route_of(what.path);
  if (to != nullptr) from->at(to->path);
  if ((to == nullptr || !to->open) && !options_.keys.allow(what.authorization))
    return from->reply(api_error{
        401, "an API key is needed, as Authorization: Bearer KEY", "invalid_request_error", {}, "invalid_api_key"});
  if (to == nullptr) return from->reply(api_error{404, "no such path here", "invalid_request_error", {}, "not_found"});
  if (to->post ? what.method != "POST" : what.method != "GET" && what.method != "HEAD") {
    const api_error wrong{405,
                          std::string("this path takes ") + (to->post ? "POST" : "GET"),
                          "invalid_request_error",
                          {},
                          "method_not_allowed"};
    return from->reply({.status = wrong.status,
                        .body = error_body(wrong),
                        .fields = to->post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n"});
  }
  if (!service_ && !to->open) return from->reply(still_loading());
  if (to->post)
    route_post(from, to->path, std::move(what.body));
  else
    reply_to_get(from, what.path);
}

void http_server::core::route_post(const connection_ref& from, std::string_view path, std::string body) {
  if (path == "/v1/chat/completions") return service_->chat(from, std::move(body));
  if (path == "/v1/completions") return service_->complete(from, std::move(body));
  if (path == "/tokenize") return service_->tokenize(from, std::move(body));
  service_->detokenize(from, std::move(body));
}

void http_server::core::reply_to_get(const connection_ref& from, const std::string& path) {
  if (path == "/health") return reply_health(from);
  if (path == "/version") return from->reply({.body = dump(nlohmann::ordered_json{{"version", options_.version}})});
  if (path == "/metrics")
    return with_status([this, from](const cluster_status& now) {
      from->reply({.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_.text(now)});
    });
  reply_model(from, path);
}

void http_server::core::reply_health(const connection_ref& from) {
  const auto refuse = [from](const char* status, const api_error& why) {
    from->reply({.status = why.status, .body = health_body(status, why), .fields = "Retry-After: 1\r\n"});
  };
  if (draining_) return refuse("draining", to_api_error({errc::unavailable, "the server is shutting down"}));
  if (cluster_ == nullptr) return refuse("loading", still_loading());
  with_status([from, refuse](const cluster_status& now) {
    if (now.serving) return from->reply({.body = "{\"status\":\"ok\"}"});
    refuse("unavailable",
           to_api_error({errc::unavailable, now.note.empty() ? "the cluster is not serving" : now.note}));
  });
}

void http_server::core::reply_model(const connection_ref& from, const std::string& path) {
  const auto positions = cluster_->config().max_position_embeddings;
  if (path == "/v1/models") return from->reply({.body = models_body(options_.model, started_, positions)});
  if (path.substr(model_path.size()) == options_.model)
    return from->reply({.body = model_body(options_.model, started_, positions)});
  from->reply(api_error{404, "no such model here; the one that is served: " + options_.model, "invalid_request_error",
                        "model", "model_not_found"});
}

/// The cluster is asked by a thread that may wait; who asks meanwhile shares the answer.
void http_server::core::with_status(std::function<void(const cluster_status&)> use) {
  if (cluster_ == nullptr) return use({});
  waiting_.push_back(std::move(use));
  if (waiting_.size() > 1) return;
  asio::post(asking_, [this, cluster = cluster_] {
    asio::post(*io_, [this, now = cluster->status()] {
      for (const auto& waiter : std::exchange(waiting_, {})) waiter(now);
    });
  });
}

// ---- the handle --------------------------------------------------------------------------------------------------

result<std::unique_ptr<http_server>> http_server::start(server_options options) {
  auto made = std::make_unique<core>(std::move(options));
  QUADRANT_TRY_VOID(made->listen());
  made->run();
  return std::unique_ptr<http_server>(new http_server(std::move(made)));
}

http_server::http_server(std::unique_ptr<core> c) : core_(std::move(c)) {}
http_server::~http_server() = default;

void http_server::serve(engine& cluster, chat_text text) { core_->serve(cluster, std::move(text)); }
std::uint16_t http_server::port() const { return core_->port(); }
std::size_t http_server::drain(std::chrono::milliseconds patience) { return core_->drain(patience); }

} // namespace quadrant::actors::http
