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

bool peer::cancel(std::uint64_t handle) {
  const bool found = outbox_.cancel(handle);
  tell_given_up();
  return found;
}

/// Where that is lost as well, the peer hears it from the floor.
void peer::tell_given_up() {
  const auto given_up = outbox_.take_given_up();
  for (const auto& one : given_up)
    if (!carry(encode(one))) break;
  if (!given_up.empty()) pump();
}

void peer::open_stream() {
  const auto id = ++around_.lanes;
  streams_.push_back(std::make_shared<stream::outgoing>(
      around_.dial, around_.self, at_, around_.bulk, outbox_, id,
      stream::outgoing::events{.connected =
                                   [this](const welcome& w) {
                                     outbox_.grant(w.credits);
                                     pump();
                                   },
                               .lost = [this, id](const failure& why) { lost(id, why); },
                               .sent = around_.sent,
                               .no_upgrade = around_.no_upgrade}));
  next_try_ = steady_clock::now() + retry_after;
  const auto stream = streams_.back(); // it may fail at once
  stream->connect();
}

void peer::pump() {
  const auto connected = std::ranges::count_if(streams_, [](const auto& s) { return s->is_connected(); });
  for (const auto& s : streams_) s->write_next(connected == 1 || s != streams_.front());
  if (connected > 0 && streams_.size() < around_.connections && outbox_.has_kv() && steady_clock::now() >= next_try_)
    open_stream();
}

void peer::lost(outbox::lane_id lane, const failure& why) {
  std::erase_if(streams_, [&](const auto& s) { return s->id() == lane; });
  outbox_.lost(lane);
  // One that is being dialled is none that is left: the other side may have forgotten by then what it has taken.
  if (std::ranges::none_of(streams_, [](const auto& s) { return s->is_connected(); })) {
    const auto dialling = std::exchange(streams_, {});
    for (const auto& s : dialling) s->close(why);
    return outbox_.fail_all(why);
  }
  ask(steady_clock::now()); // answers came over it, too
  pump();
}

void peer::answered(std::uint64_t id, const result<void>& outcome) {
  const bool waited = outbox_.is_out_of_credits();
  outbox_.answered(id, outcome);
  if (waited) pump();
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
  tell_given_up();
  if (now >= next_ask_) {
    next_ask_ = now + ask_after;
    ask(now - ask_after);
  }
}

} // namespace quadrant::transport
