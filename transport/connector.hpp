// transport/connector.hpp: how the connections of an endpoint come about: over shared memory with processes of this machine,
// over TCP with all others.
//
//   listen ─▶ TCP port, Unix socket of the endpoint's name ─▶ opened(connection)
//   dial   ─▶ near, and if that cannot be had: TCP ─▶ done(connection)
//
// Threads everything on the endpoint's I/O thread, but listen, which comes before it starts
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "config/result.hpp"
#include "transport/endpoint.hpp"
#include "transport/shm/ring_stream.hpp"
#include "transport/stream/outgoing.hpp"

namespace quadrant::transport {

class connector {
public:
  using time_point = std::chrono::steady_clock::time_point;

  connector(boost::asio::io_context& io, const endpoint_options& options, std::uint64_t self, stream::poll_set& rings,
            std::function<void(std::unique_ptr<stream::byte_stream>)> opened)
      : io_(io), options_(options), self_(self), rings_(rings), opened_(std::move(opened)), acceptor_(io),
        near_acceptor_(io) {}

  /// Returns the port.
  /// Errors  errc::invalid_argument: host or port cannot be had
  result<std::uint16_t> listen();
  /// Tells what came of it, never in this call; returns what ends the attempt.
  std::function<void()> dial(const address& to, stream::outgoing::dialled done);
  void tick(time_point now);
  void close();

private:
  [[nodiscard]] std::unique_ptr<stream::byte_stream> hooked(std::unique_ptr<stream::byte_stream> made);
  void accept();
  void listen_near();
  void accept_near();

  boost::asio::io_context& io_;
  const endpoint_options& options_;
  std::uint64_t self_;
  stream::poll_set& rings_;
  std::function<void(std::unique_ptr<stream::byte_stream>)> opened_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::local::stream_protocol::acceptor near_acceptor_;
  /// Connected over a Unix socket, without the memory so far; and how long that may take.
  std::vector<std::pair<std::shared_ptr<shm::ring_stream::socket>, time_point>> waiting_;
  bool accepting_ = false, accepting_near_ = false, closed_ = false;
};

} // namespace quadrant::transport
