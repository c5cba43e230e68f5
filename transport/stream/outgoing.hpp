// transport/stream/outgoing.hpp: one stream to one peer: pieces of transfers go out, acknowledgements of transfers come back;
// those that we owe the peer go out with them.
//
//   new ─▶ dialling ─▶ shaking hands ─▶ connected ─▶ dead: what it carried goes back to the outbox
//
// One piece is written at a time, or some small ones together; when they are out, the next come from the outbox.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "transport/frame.hpp"
#include "transport/outbox.hpp"
#include "transport/stream/byte_stream.hpp"
#include "transport/stream/identity.hpp"
#include "transport/stream/stage.hpp"
#include "transport/stream/upgrade.hpp"

namespace quadrant::transport::stream {

class outgoing : public std::enable_shared_from_this<outgoing> {
public:
  /// What it tells the peer that it belongs to.
  struct events {
    std::function<void(const welcome&)> connected;
    std::function<void(const failure&)> lost; ///< once; it reads no memory any more
    std::function<void(std::uint64_t bytes)> sent;
    std::function<void(const failure&)> no_upgrade; ///< what both agreed on does not work after all
  };
  /// Opens a connection to a peer, and tells what came of it, never in the call itself; the call gives what ends the
  /// attempt.
  using dialled = std::function<void(result<std::unique_ptr<byte_stream>>)>;
  struct dialling {
    std::function<std::function<void()>(const address& to, dialled done)> dial;
    stream::upgrade_maker make_upgrade; ///< may be empty
  };
  outgoing(const dialling& dial, const identity& self, address peer, bulk_count& bulk, outbox& box, outbox::lane_id id,
           events told);

  void connect();
  /// Takes from the outbox, if it has nothing to write. kv: that kind too.
  void write_next(bool kv);
  /// Takes a frame without bytes along with whatever leaves next, at the latest with flush(); false where nothing leaves
  /// soon.
  [[nodiscard]] bool carry(std::span<const std::byte> frame);
  void flush() { write_next(takes_kv_); }
  void close(const failure& why);
  /// Closes where the handshake takes too long.
  void expire(std::chrono::steady_clock::time_point now);
  [[nodiscard]] bool is_connected() const noexcept { return connected_ && !dead_; }
  [[nodiscard]] bool dead() const noexcept { return dead_; }
  [[nodiscard]] outbox::lane_id id() const noexcept { return id_; }
  [[nodiscard]] const char* path() const noexcept { return is_connected() ? stream_->path() : ""; }

private:
  void say_hello();
  void take_welcome();
  /// The next pieces that leave together: one, or small ones; the smallest are copied.
  [[nodiscard]] std::vector<boost::asio::const_buffer> take_batch(bool kv);
  void read_acks();
  [[nodiscard]] bool take_acks();
  [[nodiscard]] std::string peer_name() const { return peer_.host + ":" + std::to_string(peer_.port); }

  const dialling& dial_;
  std::function<void()> end_dialling_;
  std::unique_ptr<byte_stream> stream_; ///< once there is a connection
  std::unique_ptr<upgrade> upgrade_;    ///< that is offered
  const identity& self_;
  address peer_;
  bulk_mark much_;
  outbox& box_;
  outbox::lane_id id_;
  events told_;
  std::vector<std::byte> owed_; ///< acknowledgements and questions that go with what leaves next
  std::vector<std::byte> flat_; ///< those that leave, the heads, messages, and bytes too few for a buffer of their own
  std::uint64_t payload_ = 0;   ///< bytes of slices that leave
  bool connected_ = false, dead_ = false, is_writing_ = false, takes_kv_ = true;
  bool reads_memory_ = false;                   ///< the write: of pieces that were not copied
  std::chrono::steady_clock::time_point due_{}; ///< of the handshake
  meeting about_;
  std::vector<std::byte> hello_;
  std::array<std::byte, welcome_bytes> welcome_{};
  stage stage_; ///< acks
};

} // namespace quadrant::transport::stream
