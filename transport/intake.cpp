#include "transport/intake.hpp"

#include <iterator>

#include "config/check.hpp"

namespace quadrant::transport {

result<intake::opening> intake::begin(const transfer_head& head, lane_id lane) {
  raise_floor(head.floor);
  if (head.id < floor_ || has_ended(head.id)) return opening{};
  auto found = open_.find(head.id);
  if (found == open_.end()) {
    if (open_.size() >= credits_) return {errc::corrupt, "it began more transfers than it has credits"};
    found = open_.emplace(head.id, transfer_state{}).first;
    auto& t = found->second;
    t.what.id = head.id;
    t.what.inbox = head.inbox;
    t.pieces.resize(head.pieces);
    t.missing = head.pieces;
    t.after = head.after;
  }
  auto& t = found->second;
  if (head.pieces != t.pieces.size() || head.inbox != t.what.inbox || head.after != t.after)
    return {errc::corrupt, "two pieces of one transfer disagree"};
  auto& p = t.pieces[head.piece];
  if (p.here) return opening{};
  return opening{.wanted = true, .stale = std::exchange(p.lane, lane)};
}

void intake::end(const transfer_head& head, std::vector<std::byte> message, const result<void>& outcome) {
  const auto found = open_.find(head.id);
  if (found == open_.end()) return; // the floor has passed it meanwhile
  auto& t = found->second;
  auto& p = t.pieces[head.piece];
  if (std::exchange(p.here, true)) return;
  p.lane = 0;
  if (head.piece == 0) t.what.message = std::move(message);
  if (!outcome && t.what.outcome) t.what.outcome = outcome;
  if (--t.missing > 0) return;
  if (t.after == 0 || t.after < floor_ || has_ended(t.after))
    ready_.push_back(head.id);
  else
    held_.emplace(t.after, head.id);
}

void intake::lane_gone(lane_id lane) {
  for (auto& [id, t] : open_)
    for (auto& p : t.pieces)
      if (p.lane == lane) p.lane = 0;
}

void intake::raise_floor(std::uint64_t floor) {
  if (floor <= floor_) return;
  floor_ = floor;
  while (!ended_.empty() && ended_.begin()->second < floor) ended_.erase(ended_.begin());
  failures_.erase(failures_.begin(), failures_.lower_bound(floor));
  // Given up by the peer: nobody waits for it. One that is whole still waits its turn.
  for (auto it = open_.begin(); it != open_.end() && it->first < floor;)
    it = it->second.missing > 0 ? open_.erase(it) : std::next(it);
  while (!held_.empty() && held_.begin()->first < floor) {
    ready_.push_back(held_.begin()->second);
    held_.erase(held_.begin());
  }
}

std::optional<intake::delivery> intake::next_ready() {
  while (!ready_.empty()) {
    const auto found = open_.find(ready_.front());
    ready_.pop_front();
    if (found != open_.end()) return std::move(found->second.what);
  }
  return std::nullopt;
}

void intake::settle(std::uint64_t id, const result<void>& outcome) {
  open_.erase(id);
  if (id >= floor_) {
    note_ended(id);
    if (!outcome) failures_.insert_or_assign(id, outcome.error());
  }
  for (auto [it, last] = held_.equal_range(id); it != last; it = held_.erase(it)) ready_.push_back(it->second);
}

std::optional<result<void>> intake::outcome_of(std::uint64_t id) const {
  if (id < floor_ || !has_ended(id)) return std::nullopt;
  const auto failed = failures_.find(id);
  return failed == failures_.end() ? result<void>() : result<void>(failed->second);
}

bool intake::has_ended(std::uint64_t id) const {
  const auto after = ended_.upper_bound(id);
  return after != ended_.begin() && std::prev(after)->second >= id;
}

/// Joins the runs beside it.
void intake::note_ended(std::uint64_t id) {
  auto next = ended_.upper_bound(id);
  auto last = id;
  if (next != ended_.end() && next->first == id + 1) {
    last = next->second;
    next = ended_.erase(next);
  }
  if (next != ended_.begin())
    if (const auto before = std::prev(next); before->second + 1 == id) {
      before->second = last;
      return;
    }
  ended_.emplace_hint(next, id, last);
}

} // namespace quadrant::transport
