// transport/peer.hpp: another endpoint, as this one sees it: what is to be sent there, the streams that carry it, and what
// comes from there.
//
//   submit ─▶ outbox ◀─ stream 0 (urgent traffic) ══▶        ══▶ incoming streams ─▶ intake ─▶ inboxes
//                    ◀─ stream 1 … (all kinds)    ══▶
//
// The first stream opens with the first transfer; the others when there is something large to send. While there are
// others, KV does not go over the first, so that nothing urgent waits behind it. A stream that breaks gives back what was
// not answered; when the last one breaks, or cannot open, everything has failed, and the next submit begins anew.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "transport/intake.hpp"
#include "transport/outbox.hpp"
#include "transport/stream/outgoing.hpp"

namespace quadrant::transport {

class peer {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// What all peers of an endpoint share.
  struct surroundings {
    stream::outgoing::dialling dial;
    const stream::identity& self;
    stream::bulk_count& bulk;
    std::atomic<std::uint64_t>& credits_out;
    std::function<void(std::uint64_t bytes)> sent;
    std::function<void(const failure&)> no_upgrade;
    std::size_t connections = 1;
    std::uint32_t credits = 1024; ///< that a peer gets
    std::uint64_t lanes = 0;      ///< ids given
  };
  explicit peer(surroundings& around)
      : around_(around), outbox_({.piece_bytes = 1 << 20}, around.credits_out), intake_(around.credits) {}

  void submit(const address& to, std::uint64_t handle, transfer what, completion done);
  bool cancel(std::uint64_t handle);
  void answered(std::uint64_t id, const result<void>& outcome);
  /// A frame without bytes goes with what we send that peer, if we do: then flush soon.
  [[nodiscard]] bool carry(std::span<const std::byte> frame);
  void flush() { pump(); }
  /// Asks for the answers to what is written and was not answered since.
  void ask(time_point before);
  void fail(const failure& why);
  void tick(time_point now);
  /// Open streams.
  [[nodiscard]] const std::vector<std::shared_ptr<stream::outgoing>>& streams() const noexcept { return streams_; }
  [[nodiscard]] class intake& intake() noexcept { return intake_; }
  /// The last stream from there has ended: what comes over a new one is a new life.
  void forget_arrivals() { intake_ = transport::intake(around_.credits); }

private:
  void open_stream();
  void pump();
  void tell_given_up();
  void lost(outbox::lane_id lane, const failure& why);

  surroundings& around_;
  address at_;
  outbox outbox_;
  transport::intake intake_;
  std::vector<std::shared_ptr<stream::outgoing>> streams_; ///< those that live; the first one is for what is urgent
  time_point next_try_{};                                  ///< to open one more
  time_point next_ask_{};
};

} // namespace quadrant::transport
