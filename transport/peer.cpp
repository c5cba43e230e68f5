#include "transport/peer.hpp"

#include <algorithm>

namespace quadrant::transport {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {
constexpr auto retry_after = milliseconds(1000), ask_after = milliseconds(500);
} // namespace

void peer::submit(const address& to, std::uint64_t handle, transfer what, completion done) {
  const bool first = streams_.empty();
  if (first) at_ = to;
  outbox_.submit(handle, to.inbox, std::move(what), std::move(done), steady_clock::now(), around_.connections > 1);
  if (first) return open_stream();
  pump();
}

void peer::open_stream() {
  const auto id = ++around_.lanes;
  streams_.push_back(std::make_shared<tcp::outgoing>(
      around_.io, around_.self, at_, around_.bulk, outbox_, id,
      tcp::outgoing::events{.connected =
                                [this](const welcome& w) {
                                  outbox_.grant(w.credits);
                                  pump();
                                },
                            .lost = [this, id](const failure& why) { lost(id, why); },
                            .sent = around_.sent}));
  next_try_ = steady_clock::now() + retry_after;
  const auto stream = streams_.back(); // it may fail at once
  stream->connect();
}

void peer::pump() {
  // Over a copy: a completion may end a stream.
  const auto streams = streams_;
  const auto connected = std::ranges::count_if(streams, [](const auto& s) { return s->is_connected(); });
  for (const auto& s : streams) s->write_next(connected == 1 || s != streams.front());
  if (connected > 0 && streams_.size() < around_.connections && outbox_.has_kv() && steady_clock::now() >= next_try_)
    open_stream();
}

void peer::lost(outbox::lane_id lane, const failure& why) {
  std::erase_if(streams_, [&](const auto& s) { return s->id() == lane; });
  outbox_.lost(lane);
  if (streams_.empty()) return outbox_.fail_all(why);
  ask(steady_clock::now()); // answers came over it, too
  pump();
}

void peer::answered(std::uint64_t id, const result<void>& outcome) {
  outbox_.answered(id, outcome);
  pump(); // a credit has come home
}

bool peer::carry(std::span<const std::byte> frame) {
  return std::ranges::any_of(streams_, [&](const auto& s) { return s->carry(frame); });
}

void peer::ask(time_point before) {
  constexpr std::size_t at_once = 256;
  auto ids = outbox_.unanswered(before);
  ids.resize(std::min(ids.size(), at_once));
  for (const auto id : ids)
    if (!carry(encode(transport::ask{.id = id, .floor = outbox_.floor()}))) break;
  if (!ids.empty()) pump();
}

void peer::fail(const failure& why) {
  for (const auto& s : std::vector(streams_)) s->close(why);
  outbox_.fail_all(why);
}

void peer::tick(time_point now) {
  for (const auto& s : std::vector(streams_)) s->expire(now);
  outbox_.expire(now, at_.host + ":" + std::to_string(at_.port), [this](outbox::lane_id lane) {
    for (const auto& s : std::vector(streams_))
      if (s->id() == lane)
        s->close({errc::peer_lost, "gave up the connection to " + at_.host + ":" + std::to_string(at_.port) +
                                       ": a transfer is stuck in it"});
  });
  if (now >= next_ask_) {
    next_ask_ = now + ask_after;
    ask(now - ask_after);
  }
}

std::size_t peer::streams() const noexcept { return streams_.size(); }

} // namespace quadrant::transport
