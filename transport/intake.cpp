#include "transport/intake.hpp"

#include <algorithm>
#include <iterator>

#include "config/check.hpp"

namespace quadrant::transport {
namespace {
constexpr std::size_t most_held_bytes = 256 << 20; // of messages
} // namespace

result<intake::opening> intake::begin(const transfer_head& head, lane_id lane) {
  raise_floor(head.floor);
  if (is_over(head.id)) return opening{};
  if (single_.size() + open_.size() + held_ids_.size() >= credits_ && !open_.contains(head.id))
    return {errc::corrupt, "it began more transfers than it has credits"};
  // What a sound peer never reaches: its ids follow each other, and its floor comes after them.
  if (std::max(ended_.size(), failures_.size()) > 64 * std::size_t(credits_) || held_bytes_ > most_held_bytes)
    return {errc::corrupt, "it leaves too much to remember"};
  const failure disagree{errc::corrupt, "two pieces of one transfer disagree"};
  if (head.pieces == 1) {
    if (open_.contains(head.id)) return disagree;
    const auto found = std::ranges::find(single_, head.id, &std::pair<std::uint64_t, lane_id>::first);
    if (found != single_.end()) return opening{.wanted = true, .stale = std::exchange(found->second, lane)};
    single_.emplace_back(head.id, lane);
    return opening{.wanted = true};
  }
  auto found = open_.find(head.id);
  if (found == open_.end()) {
    if (std::ranges::count(single_, head.id, &std::pair<std::uint64_t, lane_id>::first) > 0) return disagree;
    found = open_.emplace(head.id, transfer_state{}).first;
    auto& t = found->second;
    t.what.id = head.id;
    t.what.inbox = head.inbox;
    t.pieces.resize(head.pieces);
    t.missing = head.pieces;
    t.after = head.after;
  }
  auto& t = found->second;
  if (head.pieces != t.pieces.size() || head.inbox != t.what.inbox || head.after != t.after) return disagree;
  auto& p = t.pieces[head.piece];
  if (p.here) return opening{};
  return opening{.wanted = true, .stale = std::exchange(p.lane, lane)};
}

void intake::end(const transfer_head& head, std::vector<std::byte> message, const result<void>& outcome) {
  if (head.pieces == 1) {
    std::erase_if(single_, [&](const auto& s) { return s.first == head.id; });
    if (is_over(head.id)) return; // given up by the peer meanwhile
    return whole({.id = head.id, .inbox = head.inbox, .message = std::move(message), .outcome = outcome}, head.after);
  }
  const auto found = open_.find(head.id);
  if (found == open_.end()) return; // the floor has passed it meanwhile
  auto& t = found->second;
  auto& p = t.pieces[head.piece];
  if (std::exchange(p.here, true)) return;
  p.lane = 0;
  if (head.piece == 0) t.what.message = std::move(message);
  if (!outcome && t.what.outcome) t.what.outcome = outcome;
  if (--t.missing > 0) return;
  const auto state = open_.extract(found);
  whole(std::move(state.mapped().what), state.mapped().after);
}

void intake::whole(delivery what, std::uint64_t after) {
  if (after == 0 || after < floor_ || has_ended(after)) {
    ready_.push_back(std::move(what));
  } else {
    held_ids_.insert(what.id);
    held_bytes_ += what.message.size();
    held_[after].push_back(std::move(what));
  }
}

void intake::lane_gone(lane_id lane) {
  std::erase_if(single_, [&](const auto& s) { return s.second == lane; });
  for (auto& [id, t] : open_)
    for (auto& p : t.pieces)
      if (p.lane == lane) p.lane = 0;
}

void intake::raise_floor(std::uint64_t floor) {
  if (floor <= floor_) return;
  floor_ = floor;
  while (!ended_.empty() && ended_.begin()->second < floor) ended_.erase(ended_.begin());
  failures_.erase(failures_.begin(), failures_.lower_bound(floor));
  open_.erase(open_.begin(), open_.lower_bound(floor)); // given up by the peer
  while (!held_.empty() && held_.begin()->first < floor) release(held_.begin());
}

void intake::forget(std::uint64_t id, std::uint64_t after) {
  if (is_over(id)) return;
  std::erase_if(single_, [&](const auto& s) { return s.first == id; });
  open_.erase(id);
  whole({.id = id, .message = {}, .outcome = failure{errc::cancelled, "the sender gave it up"}}, after);
}

std::optional<intake::delivery> intake::next_ready() {
  if (ready_.empty()) return std::nullopt;
  auto what = std::move(ready_.front());
  ready_.pop_front();
  return what;
}

void intake::settle(std::uint64_t id, const result<void>& outcome) {
  held_ids_.erase(id);
  if (id >= floor_) {
    note_ended(id);
    if (!outcome) failures_.insert_or_assign(id, outcome.error());
  }
  if (const auto found = held_.find(id); found != held_.end()) release(found);
}

void intake::release(std::map<std::uint64_t, std::vector<delivery>>::iterator held) {
  for (auto& what : held->second) {
    held_bytes_ -= what.message.size();
    ready_.push_back(std::move(what));
  }
  held_.erase(held);
}

std::optional<result<void>> intake::outcome_of(std::uint64_t id) const {
  if (id < floor_ || !has_ended(id)) return std::nullopt;
  const auto failed = failures_.find(id);
  return failed == failures_.end() ? result<void>() : result<void>(failed->second);
}

bool intake::is_over(std::uint64_t id) const { return id < floor_ || has_ended(id) || held_ids_.contains(id); }

bool intake::has_ended(std::uint64_t id) const {
  const auto after = ended_.upper_bound(id);
  return after != ended_.begin() && std::prev(after)->second >= id;
}

/// Joins the runs beside it.
void intake::note_ended(std::uint64_t id) {
  QCHECK(!has_ended(id));
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
