// transport/intake.hpp: what comes from one peer, over any number of connections: which pieces are wanted, when a transfer
// is whole, and which may be delivered.
//
//   begin(piece) ─▶ wanted: into place ─┐                          ┌─ waits for the one that it comes after
//                └▶ not: into scratch ──┴▶ end(piece) ─▶ all there ┴▶ next_ready ─▶ (delivered) settle ─▶ answer
//
// A sender whose connection broke sends what was not answered again, over another. So a piece may come twice, and a
// connection that is given up on one side may still be read on the other: only one connection at a time fills a piece, and
// a transfer that has ended is not placed again, for its memory may serve others. Ids come in the order in which
// transfers begin; which have ended is kept as runs of ids, so it stays small.
// Errors  errc::corrupt: the peer broke the rules; its connection is not worth keeping
// Threads one owner
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "config/result.hpp"
#include "transport/frame.hpp"

namespace quadrant::transport {

class intake {
public:
  using lane_id = std::uint64_t; ///< of a connection; 0: none

  explicit intake(std::uint32_t credits) : credits_(credits) {}

  struct opening {
    bool wanted = false;
    lane_id stale = 0; ///< filled the same piece until now: it must be closed before this one is placed
  };
  result<opening> begin(const transfer_head& head, lane_id lane);
  /// The piece of `head`, which was wanted, is in place or refused. message: of piece 0
  void end(const transfer_head& head, std::vector<std::byte> message, const result<void>& outcome);
  /// Nothing more comes over it.
  void lane_gone(lane_id lane);
  /// Below it the peer waits for no answer any more.
  void raise_floor(std::uint64_t floor);
  /// Nor for this one: it ends in its turn, and nothing of it is taken any more.
  void forget(std::uint64_t id, std::uint64_t after);

  struct delivery {
    std::uint64_t id = 0;
    std::uint32_t inbox = 0;
    std::vector<std::byte> message;
    result<void> outcome; ///< of its pieces; with a failure there is nothing to deliver
  };
  std::optional<delivery> next_ready();
  /// It has ended so: what comes after it may be ready now.
  void settle(std::uint64_t id, const result<void>& outcome);

  /// Of a transfer that has ended and is not below the floor.
  [[nodiscard]] std::optional<result<void>> outcome_of(std::uint64_t id) const;

private:
  struct piece {
    bool here = false;
    lane_id lane = 0; ///< that fills it
  };
  struct transfer_state {
    delivery what;
    std::vector<piece> pieces;
    std::uint32_t missing = 0;
    std::uint64_t after = 0;
  };
  [[nodiscard]] bool has_ended(std::uint64_t id) const;
  /// It has ended, or is whole and only waits for its turn.
  [[nodiscard]] bool is_over(std::uint64_t id) const;
  void note_ended(std::uint64_t id);
  void whole(delivery what, std::uint64_t after);
  void release(std::map<std::uint64_t, std::vector<delivery>>::iterator held);

  std::uint32_t credits_;
  std::uint64_t floor_ = 0;
  std::map<std::uint64_t, transfer_state> open_;          ///< of several pieces, not whole
  std::vector<std::pair<std::uint64_t, lane_id>> single_; ///< arriving: id of one piece, and where
  std::map<std::uint64_t, std::uint64_t> ended_;          ///< runs of ids: first ─▶ last
  std::map<std::uint64_t, failure> failures_;             ///< of those
  std::map<std::uint64_t, std::vector<delivery>> held_;   ///< whole, by the id that must end first
  std::set<std::uint64_t> held_ids_;
  std::deque<delivery> ready_;
  std::size_t held_bytes_ = 0;
};

} // namespace quadrant::transport
