// transport/tcp/outgoing.hpp: one stream to one peer: transfers go out, acknowledgements of them come back; those that we
// owe the peer go out with them.
//
//   connection  new ─(first submit)─▶ dialling ─▶ shaking hands ─▶ connected ─▶ dead: everything open has failed
//   transfer    submit ─▶ queue of its kind ─▶ writing ─▶ waiting for the ack ─▶ done
//               each step may end in deadline or peer_lost
//
// One transfer is written at a time, or some small ones together, which are copied into one piece; when they are out, the
// next come from the most urgent queue that is not empty. A transfer that passes its deadline while it is written takes
// the connection with it, for the rest of its bytes must follow or nothing may.
// Threads everything on the endpoint's I/O thread; completions run there, and may destroy nothing of this
#pragma once
#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "transport/frame.hpp"
#include "transport/tcp/identity.hpp"
#include "transport/tcp/stage.hpp"

namespace quadrant::transport::tcp {

class outgoing : public std::enable_shared_from_this<outgoing> {
public:
  /// ids: the last transfer id that this endpoint has given; no two of its transfers share one.
  outgoing(boost::asio::io_context& io, const identity& self, address peer, bulk_count& bulk, std::uint64_t& ids,
           std::function<void(std::uint64_t bytes)> sent);

  void submit(std::uint32_t inbox, transfer what, completion done);
  /// Takes an acknowledgement along with whatever leaves next, at the latest with flush(); false where nothing leaves soon.
  [[nodiscard]] bool carry(std::span<const std::byte> ack);
  void flush() { write_next(); }
  /// Has it taken any? Then what the peer waits for may be lost with this connection.
  [[nodiscard]] bool has_carried() const noexcept { return has_carried_; }
  /// The peer has answered, here or over its own stream.
  void acked(std::uint64_t id, const result<void>& outcome);
  /// Fails everything and closes.
  void fail(const failure& why);
  /// Fails what is past its deadline, and a connection whose handshake is.
  void expire(std::chrono::steady_clock::time_point now);
  [[nodiscard]] bool dead() const noexcept { return dead_; }

private:
  struct pending {
    transfer what;
    completion done;
    std::chrono::steady_clock::time_point deadline;
    std::vector<std::byte> head;
    std::uint64_t payload; ///< bytes of its slices
  };
  void connect();
  void say_hello();
  void take_welcome();
  void write_next();
  /// The next transfers that leave together: one, or small ones, which are copied into one piece.
  [[nodiscard]] std::vector<boost::asio::const_buffer> take_batch();
  [[nodiscard]] std::uint64_t front_of_queues();
  void read_acks();
  [[nodiscard]] bool take_acks();
  void finish(std::uint64_t id, const result<void>& outcome);
  [[nodiscard]] std::string peer_name() const { return peer_.host + ":" + std::to_string(peer_.port); }

  boost::asio::ip::tcp::socket socket_;
  const identity& self_;
  address peer_;
  bulk_mark much_;
  std::function<void(std::uint64_t)> sent_;
  std::map<std::uint64_t, pending> open_; ///< by transfer id
  std::array<std::deque<std::uint64_t>, 3> queues_;
  std::uint64_t& ids_;
  std::vector<std::uint64_t> writing_;          ///< transfers
  std::vector<std::byte> owed_;                 ///< acknowledgements that go with what leaves next
  std::vector<std::byte> flat_;                 ///< those that leave, and the small ones of the transfers
  std::map<std::uint64_t, result<void>> early_; ///< acks of what is being written: its memory is needed until that ends
  bool dialled_ = false, connected_ = false, dead_ = false, is_writing_ = false, has_carried_ = false;
  bool reads_memory_ = false;                   ///< the write: of a transfer that was not copied
  std::chrono::steady_clock::time_point due_{}; ///< of the handshake
  meeting about_;
  std::vector<std::byte> hello_;
  std::array<std::byte, welcome_bytes> welcome_{};
  stage stage_; ///< acks
};

} // namespace quadrant::transport::tcp
