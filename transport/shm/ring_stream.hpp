// transport/shm/ring_stream.hpp: a connection between two processes of one machine: a ring each way, in memory that the
// dialler makes and passes over a Unix socket. The socket then wakes who sleeps, and ends when a process does.
//
//   dialler ─ Unix socket of the endpoint's name ─▶ listener       memfd: [head | to the listener] [head | to the dialler]
//
// Nobody is in the kernel while bytes move: whoever waits looks at the rings, and sleeps only when its thread has nothing
// else to do (poll_set).
// Threads everything on the endpoint's I/O thread
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include "config/result.hpp"
#include "transport/shm/ring.hpp"
#include "transport/stream/byte_stream.hpp"
#include "transport/stream/poll_set.hpp"

namespace quadrant::transport::shm {

/// What moves tensors, and what answers go in.
inline constexpr std::size_t to_listener = 512 << 10, to_dialler = 64 << 10;
inline constexpr std::size_t connection_bytes = 2 * sizeof(ring_head) + to_listener + to_dialler; ///< of the memory

/// Where an endpoint of this machine can be found; a name of the abstract namespace.
boost::asio::local::stream_protocol::endpoint place_of(std::uint64_t endpoint);

class ring_stream final : public stream::byte_stream, public stream::pollable {
public:
  using socket = boost::asio::local::stream_protocol::socket;

  /// Makes the memory and sends it through the socket, which is connected.
  /// Errors  errc::unavailable: no memory, or the other side is gone
  static result<std::unique_ptr<byte_stream>> dial(socket connected, stream::poll_set& set);
  /// Takes the memory that the dialler sends; the socket must be readable.
  /// Errors  errc::corrupt: what came is no such memory
  static result<std::unique_ptr<byte_stream>> accept(socket connected, stream::poll_set& set);
  ~ring_stream() override;

  void read_some(std::span<const boost::asio::mutable_buffer> into, handler done) override;
  void cancel_read() override;
  void write(std::vector<boost::asio::const_buffer> from, handler done) override;
  void close() override;
  [[nodiscard]] bool moves_by_itself() const noexcept override { return false; }
  [[nodiscard]] const char* path() const noexcept override { return "shm"; }
  std::size_t poll() override;
  bool prepare_to_sleep() override;
  [[nodiscard]] bool shares_core() const override;

private:
  struct mapping;
  ring_stream(socket connected, stream::poll_set& set, std::unique_ptr<mapping> memory, bool dialler);
  bool poll_read();
  bool poll_write();
  void watch_socket();
  void wake();
  void fail(handler& which, boost::system::error_code why);

  socket socket_;
  stream::poll_set& set_;
  std::unique_ptr<mapping> memory_;
  ring_writer out_;
  ring_reader in_;
  std::vector<boost::asio::mutable_buffer> into_;
  std::vector<boost::asio::const_buffer> from_;
  std::size_t part_ = 0, done_of_part_ = 0, written_ = 0; ///< of from_
  handler read_done_, write_done_;
  std::shared_ptr<bool> lives_ = std::make_shared<bool>(true); ///< for handlers of the socket
  bool ended_ = false, cancelled_ = false, sleeps_ = false;
  bool heard_ = false; ///< something came since the thread slept
  std::byte woken_[64];
};

} // namespace quadrant::transport::shm
