// transport/outbox.hpp: what an endpoint has to send to one peer, over any number of connections.
//
//   submit ─▶ waiting, by urgency ─▶ begun: an id, pieces ─▶ each piece: queued ─▶ being written ─▶ written ─┐
//               │ a credit of the peer each                       ▲                  │ its connection broke    │
//               │                                                 └──────────────────┴─────────────────────────┤
//               └─ deadline, cancel, the peer is lost: done                        answered: done ◀────────────┘
//
// A connection takes the next piece when it has written the last one, so a faster one carries more. What a broken
// connection carried and nobody answered goes again over the others; the receiver knows what it has.
// Holds   a completion runs once, and not before nothing reads its memory any more; an id below floor() has ended
// Threads one owner; completions run in the calls that end a transfer, and may call submit
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "transport/frame.hpp"

namespace quadrant::transport {

class outbox {
public:
  using time_point = std::chrono::steady_clock::time_point;
  using lane_id = std::uint64_t; ///< of a connection; not 0

  struct limits {
    std::uint64_t piece_bytes = 1 << 20;  ///< larger transfers are cut; 0: never
    std::uint64_t most_bytes = 256 << 20; ///< begun and not answered, where KV begins; but for one transfer
  };
  /// credits_out: counts what is begun and not ended, of all peers.
  outbox(limits l, std::atomic<std::uint64_t>& credits_out) : limits_(l), credits_out_(credits_out) {}

  /// How many transfers may be begun and not answered.
  void grant(std::uint32_t credits) noexcept { credits_ = credits; }
  /// cut: into pieces, for several connections.
  void submit(std::uint64_t handle, std::uint32_t inbox, transfer what, completion done, time_point now, bool cut);
  /// Where it waits or only its answer is missing, it ends now; where it is being written, when that has ended. False:
  /// there is no such transfer.
  bool cancel(std::uint64_t handle);

  /// The most urgent piece that may leave now; kv: or nothing of that kind. Valid until the next call of anything.
  struct parcel {
    transfer_head head; ///< without the checksum
    std::span<const std::byte> message;
    std::span<const slice> slices;
    std::uint64_t bytes = 0; ///< of the slices
  };
  [[nodiscard]] std::optional<parcel> front(bool kv);
  /// That one leaves over a connection. copied: its memory is not read any more.
  void take(lane_id lane, bool copied);
  /// Everything that was leaving over it is written.
  void written(lane_id lane);
  void answered(std::uint64_t id, const result<void>& outcome);
  /// It is gone, and reads nothing any more: what it carried goes again.
  void lost(lane_id lane);
  void fail_all(const failure& why);
  /// Ends what is past its deadline. close: called for a connection in the middle of such a transfer; it must call lost.
  void expire(time_point now, const std::string& peer, const std::function<void(lane_id)>& close);

  /// Ids of what is written and not answered since `before`: an answer may have been lost.
  [[nodiscard]] std::vector<std::uint64_t> unanswered(time_point before) const;
  /// Those that have begun and ended without an answer since the last call: the peer need not wait for the rest.
  [[nodiscard]] std::vector<ask> take_given_up() { return std::exchange(given_up_, {}); }
  [[nodiscard]] std::uint64_t floor() const noexcept { return first_id_; }
  /// Must an answer come before the next may begin?
  [[nodiscard]] bool is_out_of_credits() const noexcept {
    return num_begun_ >= kv_credits() || bytes_begun_ >= limits_.most_bytes;
  }
  [[nodiscard]] bool has_kv() const noexcept { return !waiting_[2].empty() || !queued_[2].empty(); }

private:
  struct piece {
    std::size_t first = 0, end = 0; ///< slices
    std::uint64_t bytes = 0;
    lane_id lane = 0;
    enum class state : std::uint8_t { queued, writing, written } where = state::queued;
  };
  struct cargo {
    std::uint64_t handle = 0, bytes = 0, after = 0;
    std::uint32_t inbox = 0;
    transfer what;
    completion done;
    time_point deadline{}, written_at{};
    boost::container::small_vector<piece, 1> pieces;
    std::optional<result<void>> outcome; ///< known, but its memory is still read
  };
  using queued_piece = std::pair<std::uint64_t, std::uint32_t>;

  static void cut_up(cargo& c, std::uint64_t piece_bytes);
  [[nodiscard]] bool may_begin(const cargo& c) const noexcept;
  /// What is urgent never waits for the answers of KV: some credits, and all bytes, are left to it.
  [[nodiscard]] std::uint32_t kv_credits() const noexcept { return credits_ - credits_ / 4; }
  void begin(std::unique_ptr<cargo> c);
  [[nodiscard]] static bool is_read(const cargo& c) noexcept;
  /// Null where it has ended, or has not begun.
  [[nodiscard]] cargo* find(std::uint64_t id) noexcept;
  [[nodiscard]] std::unique_ptr<cargo> end(std::uint64_t id);
  void finish(std::uint64_t id, const result<void>& outcome);
  void note_given_up(std::uint64_t id);
  /// fn(id, cargo) for each that has begun and not ended.
  template <class Fn>
  void for_each_begun(Fn fn) const {
    for (std::uint64_t i = 0; i < begun_.size(); ++i)
      if (begun_[i]) fn(first_id_ + i, *begun_[i]);
  }

  limits limits_;
  std::atomic<std::uint64_t>& credits_out_;
  std::uint32_t credits_ = 1;
  std::array<std::deque<std::unique_ptr<cargo>>, 3> waiting_; ///< by kind
  std::array<std::deque<queued_piece>, 3> queued_;            ///< of what has begun; some may have ended
  std::deque<std::unique_ptr<cargo>> begun_;                  ///< from first_id_ on; those that have ended are null
  std::map<std::pair<std::uint32_t, traffic>, std::uint64_t> last_ordered_; ///< id, not answered, by inbox and kind
  std::vector<ask> given_up_;
  std::map<lane_id, std::vector<queued_piece>> writing_;
  std::uint64_t first_id_ = 1, num_begun_ = 0, bytes_begun_ = 0;
};

} // namespace quadrant::transport
