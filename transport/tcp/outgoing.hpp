// transport/tcp/outgoing.hpp: one stream to one peer: transfers go out, acknowledgements come back.
//
//   submit ─▶ queue of its kind ─▶ writing ─▶ waiting for the ack ─▶ done       each step may end in deadline or peer_lost
//
// One transfer is written at a time; when it is out, the next comes from the most urgent queue that is not empty.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "transport/frame.hpp"

namespace quadrant::transport::tcp {

class outgoing : public std::enable_shared_from_this<outgoing> {
public:
  struct identity {
    std::uint64_t endpoint, numerics;
    std::string token;
  };
  outgoing(boost::asio::io_context& io, identity self, address peer, std::function<void(std::uint64_t bytes)> sent);

  void submit(std::uint32_t inbox, transfer what, completion done);
  /// Fails everything and closes.
  void fail(const failure& why);
  /// Fails what is past its deadline; a transfer that is being written takes the connection with it.
  void expire(std::chrono::steady_clock::time_point now);
  [[nodiscard]] bool dead() const noexcept { return dead_; }
  [[nodiscard]] std::size_t open() const noexcept { return open_.size(); }

private:
  struct pending {
    std::uint32_t inbox;
    transfer what;
    completion done;
    std::chrono::steady_clock::time_point deadline;
    std::vector<std::byte> head;
  };
  void connect();
  void say_hello();
  void write_next();
  void read_ack();
  void finish(std::uint64_t id, const result<void>& outcome);

  boost::asio::ip::tcp::socket socket_;
  identity self_;
  address peer_;
  std::function<void(std::uint64_t)> sent_;
  std::map<std::uint64_t, pending> open_; ///< by transfer id
  std::array<std::deque<std::uint64_t>, 3> queues_;
  std::uint64_t next_id_ = 1, writing_ = 0;
  bool dialled_ = false, connected_ = false, dead_ = false;
  challenge challenge_{};
  std::vector<std::byte> hello_;
  std::array<std::byte, ack_head_bytes> ack_head_{};
  std::string ack_text_;
};

} // namespace quadrant::transport::tcp
