// transport/stream/incoming.hpp: one stream from one peer: bytes go straight into registered memory, acknowledgements go
// back.
//
//   challenge ─▶ hello ─▶ welcome ─▶ ┌─▶ head ─▶ table, message ─▶ slices into place ─▶ handler ─▶ ack ─┐
//                                    │                          └▶ (refused, or had) scratch ───────▶    │
//                                    └──────────────────────────────────────────────────────────────────┘
// A read is for the places where the next bytes belong; what it brings beyond that waits in a stage of a few KiB, so small
// frames come many at a time. Once a slice is refused, the rest of its piece is read into a scratch buffer; a malformed
// frame closes the stream. The peer's intake says which pieces are wanted, and when a transfer is whole. Acknowledgements
// go with what we send that peer, or leave together when the I/O thread has nothing else to do.
// Holds   pins only while a read into the pinned memory is pending, or the next is about to be
// Threads everything on the endpoint's I/O thread
#pragma once
#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "transport/frame.hpp"
#include "transport/inbox_table.hpp"
#include "transport/intake.hpp"
#include "transport/region_table.hpp"
#include "transport/stream/byte_stream.hpp"
#include "transport/stream/identity.hpp"
#include "transport/stream/stage.hpp"
#include "transport/stream/upgrade.hpp"

namespace quadrant::transport::stream {

class incoming : public std::enable_shared_from_this<incoming> {
public:
  struct house {
    region_table& regions;
    inbox_table& inboxes;
    identity self;
    bulk_count& bulk;
    /// Those with acks to write when the I/O thread has nothing else to do.
    std::vector<std::shared_ptr<incoming>>& owing;
    std::function<void(std::uint64_t bytes)> placed;
    std::function<bool(std::uint64_t peer, std::span<const std::byte> ack)> carry; ///< by our own stream to that peer
    std::function<void(std::uint64_t peer, std::uint64_t id, const result<void>& outcome)> acked; ///< by that peer
    std::function<intake&(std::uint64_t peer)> intake_of;
    std::function<void(intake::lane_id)> close_lane; ///< another stream of the peer
    upgrade_maker make_upgrade;                      ///< may be empty
    std::uint32_t credits = 1024;                    ///< that a peer gets
  };
  incoming(std::unique_ptr<byte_stream> stream, const house& home, intake::lane_id id)
      : stream_(std::move(stream)), home_(home), id_(id), much_(home.bulk) {}
  ~incoming() { unpin_all(); }

  void start();
  void close();
  /// Lets go of that memory: a transfer that is arriving there is refused.
  void evict(std::uint64_t key);
  void write_acks();
  /// Closes where the peer owes bytes and has sent none for too long.
  void expire(std::chrono::steady_clock::time_point now);
  [[nodiscard]] bool dead() const noexcept { return dead_; }
  [[nodiscard]] std::uint64_t peer() const noexcept { return peer_; }
  [[nodiscard]] intake::lane_id id() const noexcept { return id_; }
  [[nodiscard]] const char* path() const noexcept { return stream_->path(); }

private:
  void read_hello();
  void answer_hello(const hello& h);
  void go_on(); ///< uses what has arrived, then reads more
  // False where bytes are missing, or the peer was given up.
  [[nodiscard]] bool take_answers();
  [[nodiscard]] bool take_head();
  [[nodiscard]] bool take_table();
  void pin_all();
  [[nodiscard]] bool take_slices();
  void read_more();
  void arrived(std::size_t bytes, bool in_place);
  void end_piece();
  void deliver_ready();
  void refuse(failure why);
  void answer(std::uint64_t id, const result<void>& outcome);
  void unpin_all();
  void give_up(std::string_view why);

  std::unique_ptr<byte_stream> stream_;
  std::unique_ptr<upgrade> upgrade_; ///< that both sides have agreed on
  const house& home_;
  intake::lane_id id_;
  intake* intake_ = nullptr; ///< of the peer
  bulk_mark much_;
  challenge challenge_ = random_challenge();
  std::array<std::byte, hello_bytes> hello_{};
  std::vector<std::byte> welcome_;
  std::uint64_t peer_ = 0; ///< its endpoint, once it has proved itself
  std::chrono::steady_clock::time_point due_{};
  stage stage_;
  enum class part : std::uint8_t { head, table, slices } part_ = part::head; ///< of a frame, that comes next
  transfer_head head_;
  std::vector<std::byte> table_, message_, scratch_;
  std::size_t filled_ = 0; ///< of table and message
  std::vector<remote_span> slices_;
  std::vector<std::span<std::byte>> places_; ///< of them, where none was refused
  std::size_t index_ = 0;                    ///< of the slice that is arriving
  std::uint64_t got_ = 0;                    ///< bytes of it
  std::vector<std::uint64_t> pins_;          ///< keys held
  result<void> outcome_;                     ///< of the piece that is arriving
  bool wanted_ = false;                      ///< it; else it goes into scratch, and says nothing
  std::vector<std::byte> acks_, acks_leaving_;
  std::size_t num_acks_ = 0; ///< of both
  bool acks_owed_ = false;   ///< a write of them is to come or under way
  bool waits_for_acks_ = false, dead_ = false;
};

} // namespace quadrant::transport::stream
