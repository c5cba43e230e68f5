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

bool outbox::may_begin(const cargo& c) const noexcept {
  if (c.what.kind != traffic::kv) return num_begun_ < credits_;
  return num_begun_ == 0 || (num_begun_ < kv_credits() && bytes_begun_ + c.bytes <= limits_.most_bytes);
}

void outbox::begin(std::unique_ptr<cargo> c) {
  const auto id = first_id_ + begun_.size();
  if (c->what.ordered) {
    auto& last = last_ordered_[{c->inbox, c->what.kind}];
    c->after = std::exchange(last, id); // also where it was given up: it may still arrive
  }
  bytes_begun_ += c->bytes;
  ++num_begun_;
  ++credits_out_;
  auto& queue = queued_[std::size_t(c->what.kind)];
  for (std::uint32_t i = 0; i < c->pieces.size(); ++i) queue.emplace_back(id, i);
  begun_.push_back(std::move(c));
}

outbox::cargo* outbox::find(std::uint64_t id) noexcept {
  return id < first_id_ || id - first_id_ >= begun_.size() ? nullptr : begun_[id - first_id_].get();
}

/// Its credit comes home.
std::unique_ptr<outbox::cargo> outbox::end(std::uint64_t id) {
  auto c = std::move(begun_[id - first_id_]);
  --num_begun_;
  --credits_out_;
  bytes_begun_ -= c->bytes;
  for (; !begun_.empty() && !begun_.front(); ++first_id_) begun_.pop_front();
  return c;
}

std::optional<outbox::parcel> outbox::front(bool kv) {
  for (std::size_t kind = 0; kind < (kv ? queued_.size() : std::size_t(traffic::kv)); ++kind) {
    auto& queue = queued_[kind];
    while (!queue.empty() && find(queue.front().first) == nullptr) queue.pop_front(); // ended meanwhile
    auto& waits = waiting_[kind];
    if (queue.empty() && !waits.empty() && may_begin(*waits.front())) {
      begin(std::move(waits.front()));
      waits.pop_front();
    }
    if (queue.empty()) continue;
    const auto [id, index] = queue.front();
    const auto& c = *find(id);
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
  auto& c = *find(id);
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
    auto* c = find(id);
    if (c == nullptr) continue;
    c->pieces[index].where = piece::state::written;
    c->written_at = now;
    if (c->outcome && !is_read(*c)) finish(id, result<void>(*c->outcome));
  }
}

bool outbox::is_read(const cargo& c) noexcept {
  return std::ranges::any_of(c.pieces, [](const piece& p) { return p.where == piece::state::writing; });
}

void outbox::answered(std::uint64_t id, const result<void>& outcome) {
  auto* c = find(id);
  if (c == nullptr || c->outcome) return; // past its deadline, or told twice
  if (c->what.ordered) {
    const auto last = last_ordered_.find({c->inbox, c->what.kind});
    if (last != last_ordered_.end() && last->second == id) last_ordered_.erase(last);
  }
  if (is_read(*c))
    c->outcome = outcome;
  else
    finish(id, outcome);
}

void outbox::finish(std::uint64_t id, const result<void>& outcome) { end(id)->done(outcome); }

void outbox::note_given_up(std::uint64_t id) {
  given_up_.push_back({.id = id, .floor = floor(), .after = find(id)->after, .forget = true});
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
  std::uint64_t found = 0;
  for_each_begun([&](std::uint64_t id, const cargo& c) {
    if (c.handle == handle) found = id;
  });
  if (found == 0) return false;
  auto& c = *find(found);
  note_given_up(found);
  if (is_read(c) && !c.outcome)
    c.outcome = why;
  else if (!c.outcome)
    finish(found, why);
  return true;
}

void outbox::lost(lane_id lane) {
  writing_.erase(lane);
  std::vector<std::uint64_t> known;
  for (auto id = first_id_ + begun_.size(); id-- > first_id_;) { // so that the oldest are the first again
    auto* c = find(id);
    if (c == nullptr) continue;
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
    if (auto* c = find(id)) finish(id, result<void>(*c->outcome));
}

void outbox::fail_all(const failure& why) {
  std::vector<std::unique_ptr<cargo>> begun;
  while (num_begun_ > 0) begun.push_back(end(first_id_));
  auto waiting = std::exchange(waiting_, {});
  writing_.clear();
  for (auto& queue : queued_) queue.clear();
  for (auto& c : begun) c->done(c->outcome ? *c->outcome : result<void>(why));
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
  std::vector<std::uint64_t> ids;
  for_each_begun([&](std::uint64_t id, const cargo& c) {
    if (c.deadline > now) return;
    for (const auto& p : c.pieces)
      if (p.where == piece::state::writing) stuck.push_back(p.lane);
    ids.push_back(id);
  });
  for (const auto id : ids) note_given_up(id), over.push_back(end(id));
  for (const auto lane : stuck) close(lane); // the rest of its bytes must follow, or nothing may
  for (const auto& c : over) c->done(c->outcome ? *c->outcome : result<void>(late));
}

std::vector<std::uint64_t> outbox::unanswered(time_point before) const {
  std::vector<std::uint64_t> ids;
  for_each_begun([&](std::uint64_t id, const cargo& c) {
    if (c.written_at < before &&
        std::ranges::all_of(c.pieces, [](const piece& p) { return p.where == piece::state::written; }))
      ids.push_back(id);
  });
  return ids;
}

} // namespace quadrant::transport
