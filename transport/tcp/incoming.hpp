// transport/tcp/incoming.hpp: one stream from one peer: bytes go straight into registered memory, acknowledgements go back.
//
//   challenge ─▶ hello ─▶ ┌─▶ head ─▶ table ─▶ message ─▶ slices into place ─▶ handler ─▶ ack ─┐
//                         └────────────────────────────────────────────────────────────────────┘
// A refused slice is read into a scratch buffer and refused in the ack; a malformed frame closes the stream.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "transport/frame.hpp"
#include "transport/inbox_table.hpp"
#include "transport/region_table.hpp"

namespace quadrant::transport::tcp {

class incoming : public std::enable_shared_from_this<incoming> {
public:
  struct house {
    region_table& regions;
    inbox_table& inboxes;
    std::string token;
    std::uint64_t numerics;
    std::function<void(std::uint64_t bytes)> received;
  };
  incoming(boost::asio::ip::tcp::socket socket, house& home) : socket_(std::move(socket)), home_(home) {}
  ~incoming() { unpin_all(); }

  void start();
  void close();
  [[nodiscard]] bool dead() const noexcept { return dead_; }
  [[nodiscard]] std::uint64_t peer() const noexcept { return peer_; }

private:
  void read_head();
  void read_table();
  void read_message();
  void read_slice(std::size_t index);
  void drain(std::size_t index, std::uint64_t left);
  void deliver();
  void answer(const result<void>& outcome);
  void write_acks();
  void unpin_all();

  boost::asio::ip::tcp::socket socket_;
  house& home_;
  challenge challenge_{};
  std::array<std::byte, hello_bytes> hello_{};
  std::uint64_t peer_ = 0;
  std::array<std::byte, transfer_head_bytes> head_bytes_{};
  transfer_head head_;
  std::vector<std::byte> table_, message_, scratch_;
  std::vector<remote_span> slices_;
  std::vector<slice> placed_;       ///< what was written, for the checksum
  std::vector<std::uint64_t> pins_; ///< keys held
  result<void> outcome_;
  std::deque<std::vector<std::byte>> acks_;
  bool dead_ = false;
};

} // namespace quadrant::transport::tcp
