#include "transport/connector.hpp"

#include <algorithm>
#include <string>

#include <boost/asio/post.hpp>

#include "config/log.hpp"
#include "transport/stream/faulty_stream.hpp"
#include "transport/tcp/socket_stream.hpp"

namespace quadrant::transport {

namespace asio = boost::asio;
using boost::system::error_code;

result<std::uint16_t> connector::listen() {
  error_code bad;
  const auto host = asio::ip::make_address(options_.host, bad);
  const asio::ip::tcp::endpoint at{host, options_.port};
  if (!bad) acceptor_.open(at.protocol(), bad);
  if (!bad) acceptor_.set_option(asio::socket_base::reuse_address(true), bad);
  if (!bad) acceptor_.bind(at, bad);
  if (!bad) acceptor_.listen(asio::socket_base::max_listen_connections, bad);
  if (bad)
    return {errc::invalid_argument,
            "cannot listen on " + options_.host + ":" + std::to_string(options_.port) + ": " + bad.message()};
  accept();
  if (options_.shared_memory) listen_near();
  return acceptor_.local_endpoint().port();
}

std::unique_ptr<stream::byte_stream> connector::hooked(std::unique_ptr<stream::byte_stream> made) {
  return options_.hook ? options_.hook->wrap(std::move(made), io_) : std::move(made);
}

void connector::accept() {
  accepting_ = true;
  acceptor_.async_accept([this](error_code e, asio::ip::tcp::socket socket) {
    accepting_ = false;
    if (closed_) return;
    if (e) return log::warn("transport", "cannot accept a connection: " + e.message()); // the next tick tries again
    opened_(hooked(std::make_unique<tcp::socket_stream>(std::move(socket))));
    accept();
  });
}

/// Where it cannot be had, processes of this machine come over TCP.
void connector::listen_near() {
  error_code bad;
  const auto at = shm::place_of(self_);
  near_acceptor_.open(at.protocol(), bad);
  if (!bad) near_acceptor_.bind(at, bad);
  if (!bad) near_acceptor_.listen(asio::socket_base::max_listen_connections, bad);
  bad ? near_acceptor_.close(bad), void() : accept_near();
}

void connector::accept_near() {
  accepting_near_ = true;
  near_acceptor_.async_accept([this](error_code e, shm::ring_stream::socket socket) {
    accepting_near_ = false;
    if (closed_ || e) return; // the next tick tries again
    const auto waiting = std::make_shared<shm::ring_stream::socket>(std::move(socket));
    waiting_.emplace_back(waiting, std::chrono::steady_clock::now() + options_.handshake_timeout);
    // The memory comes with the first byte.
    waiting->async_wait(asio::socket_base::wait_read, [this, waiting](error_code gone) {
      std::erase_if(waiting_, [&](const auto& w) { return w.first == waiting; });
      if (closed_ || gone) return;
      auto connection = shm::ring_stream::accept(std::move(*waiting), rings_);
      if (!connection) return log::warn("transport", connection.error().message);
      opened_(hooked(std::move(*connection)));
    });
    accept_near();
  });
}

std::function<void()> connector::dial(const address& to, stream::outgoing::dialled done) {
  error_code bad;
  const auto host = asio::ip::make_address(to.host, bad);
  if (bad) {
    asio::post(io_, [done = std::move(done), to] {
      done(failure{errc::invalid_argument, "peer address " + to.host + " is not an IP address"});
    });
    return [] {};
  }
  if (options_.shared_memory && (host.is_loopback() || to.host == options_.host)) {
    shm::ring_stream::socket near(io_);
    const auto at = shm::place_of(to.endpoint);
    near.open(at.protocol(), bad);
    if (!bad) near.non_blocking(true, bad); // a listener that is behind: then over TCP
    if (!bad) near.connect(at, bad);
    if (!bad)
      if (auto connection = shm::ring_stream::dial(std::move(near), rings_)) {
        const auto got = std::make_shared<std::unique_ptr<stream::byte_stream>>(hooked(std::move(*connection)));
        asio::post(io_, [done = std::move(done), got] { done(std::move(*got)); });
        return [] {};
      }
  }
  const auto socket = std::make_shared<asio::ip::tcp::socket>(io_);
  socket->async_connect({host, to.port}, [this, done = std::move(done), socket, to](error_code e) {
    if (e)
      done(failure{errc::peer_lost,
                   "cannot connect to " + to.host + ":" + std::to_string(to.port) + ": " + e.message()});
    else
      done(hooked(std::make_unique<tcp::socket_stream>(std::move(*socket))));
  });
  return [socket] {
    error_code ignored;
    socket->close(ignored);
  };
}

void connector::tick(time_point now) {
  if (acceptor_.is_open() && !accepting_) accept();
  if (near_acceptor_.is_open() && !accepting_near_) accept_near();
  error_code ignored;
  for (const auto& [socket, due] : waiting_)
    if (now > due) socket->close(ignored);
}

void connector::close() {
  closed_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  near_acceptor_.close(ignored);
  for (const auto& [socket, due] : waiting_) socket->close(ignored);
}

} // namespace quadrant::transport
