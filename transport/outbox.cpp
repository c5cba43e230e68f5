#include "transport/outbox.hpp"

#include <algorithm>
#include <utility>

#include "config/check.hpp"

namespace quadrant::transport {

void outbox::submit(std::uint64_t handle, std::uint32_t inbox, transfer what, completion done, time_point now,
                    bool cut) {
  auto c = std::make_unique<cargo>(cargo{.handle = handle,
                                         .inbox = inbox,
                                         .what = std::move(what),
                                         .done = std::move(done),
                                         .deadline = now,
                                         .pieces = {},
                                         .outcome = {}});
  c->deadline += c->what.timeout;
  for (const auto& s : c->what.slices) c->bytes += s.from.size();
  cut_up(*c, cut ? limits_.piece_bytes : 0);
  waiting_[std::size_t(c->what.kind)].push_back(std::move(c));
}

/// Into pieces of at most that many bytes; a slice may be cut too.
void outbox::cut_up(cargo& c, std::uint64_t piece_bytes) {
  if (piece_bytes == 0 || c.bytes <= piece_bytes) {
    c.pieces.push_back({.first = 0, .end = c.what.slices.size(), .bytes = c.bytes});
    return;
  }
  piece_bytes = std::max(piece_bytes, c.bytes / max_pieces + 1);
  std::vector<slice> slices;
  piece now;
  for (auto s : c.what.slices) {
    while (!s.from.empty()) {
      const auto n = std::min<std::uint64_t>(s.from.size(), piece_bytes - now.bytes);
      slices.push_back({s.from.first(n), {s.to.key, s.to.offset, n}});
      s = {s.from.subspan(n), {s.to.key, s.to.offset + n, s.to.bytes - n}};
      now.bytes += n;
      if (now.bytes < piece_bytes) continue;
      now.end = slices.size();
      c.pieces.push_back(now);
      now = {.first = slices.size()};
    }
  }
  now.end = slices.size();
  if (now.bytes > 0) c.pieces.push_back(now);
  c.what.slices = std::move(slices);
}

std::size_t outbox::waiting() const noexcept {
  std::size_t sum = 0;
  for (const auto& list : waiting_) sum += list.size();
  return sum;
}

bool outbox::may_begin(const cargo& c) const noexcept {
  return begun_.empty() || (begun_.size() < credits_ && bytes_begun_ + c.bytes <= limits_.most_bytes);
}

void outbox::begin(std::unique_ptr<cargo> c) {
  const auto id = ++last_id_;
  if (c->what.ordered) {
    auto& last = last_ordered_[c->inbox];
    if (begun_.contains(last)) c->after = last;
    last = id;
  }
  bytes_begun_ += c->bytes;
  ++credits_out_;
  auto& queue = queued_[std::size_t(c->what.kind)];
  for (std::uint32_t i = 0; i < c->pieces.size(); ++i) queue.emplace_back(id, i);
  begun_.emplace_hint(begun_.end(), id, std::move(c));
}

std::optional<outbox::parcel> outbox::front(bool kv) {
  for (std::size_t kind = 0; kind < (kv ? queued_.size() : std::size_t(traffic::kv)); ++kind) {
    auto& queue = queued_[kind];
    while (!queue.empty() && !begun_.contains(queue.front().first)) queue.pop_front(); // ended meanwhile
    auto& waits = waiting_[kind];
    if (queue.empty() && !waits.empty() && may_begin(*waits.front())) {
      begin(std::move(waits.front()));
      waits.pop_front();
    }
    if (queue.empty()) continue;
    const auto [id, index] = queue.front();
    const auto& c = *begun_.at(id);
    const auto& p = c.pieces[index];
    parcel out{.head = {.inbox = c.inbox,
                        .id = id,
                        .num_slices = std::uint32_t(p.end - p.first),
                        .checksum = c.what.checksum,
                        .piece = index,
                        .pieces = std::uint32_t(c.pieces.size()),
                        .floor = floor(),
                        .after = c.after},
               .message = {},
               .slices = std::span(c.what.slices).subspan(p.first, p.end - p.first),
               .bytes = p.bytes};
    if (index == 0) out.message = c.what.message;
    out.head.message_bytes = std::uint32_t(out.message.size());
    return out;
  }
  return std::nullopt;
}

void outbox::take(lane_id lane, bool copied) {
  auto& queue = *std::ranges::find_if(queued_, [](const auto& q) { return !q.empty(); });
  const auto [id, index] = queue.front();
  queue.pop_front();
  auto& c = *begun_.at(id);
  auto& p = c.pieces[index];
  p.lane = lane;
  p.where = copied ? piece::state::written : piece::state::writing;
  if (copied)
    c.written_at = std::chrono::steady_clock::now();
  else
    writing_[lane].emplace_back(id, index);
}

void outbox::written(lane_id lane) {
  auto& list = writing_[lane];
  const auto now = std::chrono::steady_clock::now();
  for (const auto& [id, index] : std::exchange(list, {})) {
    const auto found = begun_.find(id);
    if (found == begun_.end()) continue;
    auto& c = *found->second;
    c.pieces[index].where = piece::state::written;
    c.written_at = now;
    if (c.outcome && !is_read(c)) finish(id, *c.outcome);
  }
}

bool outbox::is_read(const cargo& c) noexcept {
  return std::ranges::any_of(c.pieces, [](const piece& p) { return p.where == piece::state::writing; });
}

void outbox::answered(std::uint64_t id, const result<void>& outcome) {
  const auto found = begun_.find(id);
  if (found == begun_.end() || found->second->outcome) return; // past its deadline, or told twice
  if (is_read(*found->second))
    found->second->outcome = outcome;
  else
    finish(id, outcome);
}

void outbox::finish(std::uint64_t id, const result<void>& outcome) {
  const auto found = begun_.find(id);
  const auto c = std::move(found->second);
  begun_.erase(found);
  bytes_begun_ -= c->bytes;
  --credits_out_;
  c->done(outcome);
}

bool outbox::cancel(std::uint64_t handle) {
  const failure why{errc::cancelled, "the transfer was cancelled"};
  for (auto& list : waiting_)
    for (auto it = list.begin(); it != list.end(); ++it)
      if ((*it)->handle == handle) {
        const auto c = std::move(*it);
        list.erase(it);
        c->done(why);
        return true;
      }
  for (const auto& [id, c] : begun_) {
    if (c->handle != handle) continue;
    if (!is_read(*c))
      finish(id, why);
    else if (!c->outcome)
      c->outcome = why;
    return true;
  }
  return false;
}

void outbox::lost(lane_id lane) {
  writing_.erase(lane);
  std::vector<std::uint64_t> known;
  for (auto it = begun_.rbegin(); it != begun_.rend(); ++it) { // so that the oldest are the first again
    auto& [id, c] = *it;
    for (auto index = std::uint32_t(c->pieces.size()); index-- > 0;) {
      auto& p = c->pieces[index];
      if (p.lane != lane) continue;
      p.lane = 0;
      p.where = piece::state::queued;
      queued_[std::size_t(c->what.kind)].emplace_front(id, index);
    }
    if (c->outcome && !is_read(*c)) known.push_back(id);
  }
  for (const auto id : known)
    if (const auto found = begun_.find(id); found != begun_.end()) finish(id, result<void>(*found->second->outcome));
}

void outbox::fail_all(const failure& why) {
  auto begun = std::exchange(begun_, {});
  auto waiting = std::exchange(waiting_, {});
  writing_.clear();
  for (auto& queue : queued_) queue.clear();
  bytes_begun_ = 0;
  credits_out_ -= begun.size();
  for (auto& [id, c] : begun) c->done(c->outcome ? *c->outcome : result<void>(why));
  for (auto& list : waiting)
    for (auto& c : list) c->done(why);
}

void outbox::expire(time_point now, const std::string& peer, const std::function<void(lane_id)>& close) {
  const failure late{errc::deadline, "a transfer to " + peer + " passed its deadline"};
  std::vector<std::unique_ptr<cargo>> over;
  for (auto& list : waiting_)
    for (auto it = list.begin(); it != list.end();)
      if ((*it)->deadline <= now) {
        over.push_back(std::move(*it));
        it = list.erase(it);
      } else {
        ++it;
      }
  std::vector<lane_id> stuck;
  for (auto it = begun_.begin(); it != begun_.end();) {
    if (it->second->deadline > now) {
      ++it;
      continue;
    }
    for (const auto& p : it->second->pieces)
      if (p.where == piece::state::writing) stuck.push_back(p.lane);
    bytes_begun_ -= it->second->bytes;
    --credits_out_;
    over.push_back(std::move(it->second));
    it = begun_.erase(it);
  }
  for (const auto lane : stuck) close(lane); // the rest of its bytes must follow, or nothing may
  for (const auto& c : over) c->done(c->outcome ? *c->outcome : result<void>(late));
}

std::vector<std::uint64_t> outbox::unanswered(time_point before) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, c] : begun_)
    if (c->written_at < before &&
        std::ranges::all_of(c->pieces, [](const piece& p) { return p.where == piece::state::written; }))
      ids.push_back(id);
  return ids;
}

} // namespace quadrant::transport
