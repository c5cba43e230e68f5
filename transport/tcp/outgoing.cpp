#include "transport/tcp/outgoing.hpp"

#include <algorithm>

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "transport/checksum.hpp"

namespace quadrant::transport::tcp {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::steady_clock;

namespace {
constexpr std::size_t most_copied = 16 << 10, most_together = 256 << 10; // bytes of a small transfer; of a batch
constexpr std::size_t most_owed = 64 << 10;                              // then the peer does not read: no more
} // namespace

outgoing::outgoing(asio::io_context& io, const identity& self, address peer, bulk_count& bulk, std::uint64_t& ids,
                   std::function<void(std::uint64_t)> sent)
    : socket_(io), self_(self), peer_(std::move(peer)), much_(bulk), sent_(std::move(sent)), ids_(ids) {}

void outgoing::submit(std::uint32_t inbox, transfer what, completion done) {
  if (dead_) return done(failure{errc::peer_lost, "the connection to the peer is closed"});
  const auto id = ++ids_;
  const auto kind = std::size_t(what.kind);
  const transfer_head head{.inbox = inbox,
                           .id = id,
                           .message_bytes = std::uint32_t(what.message.size()),
                           .num_slices = std::uint32_t(what.slices.size()),
                           .checksum = what.checksum,
                           .hash = what.checksum ? checksum_of(what.slices) : 0};
  auto bytes = encode(head, what.slices);
  const auto deadline = steady_clock::now() + what.timeout;
  std::uint64_t payload = 0;
  for (const auto& s : what.slices) payload += s.from.size();
  open_.emplace(id, pending{std::move(what), std::move(done), deadline, std::move(bytes), payload});
  queues_.at(kind).push_back(id);
  if (!std::exchange(dialled_, true)) return connect();
  write_next();
}

void outgoing::connect() {
  due_ = steady_clock::now() + self_.handshake_timeout;
  error_code bad;
  const auto host = asio::ip::make_address(peer_.host, bad);
  if (bad) return fail({errc::invalid_argument, "peer address " + peer_.host + " is not an IP address"});
  socket_.async_connect({host, peer_.port}, [self = shared_from_this()](error_code e) {
    if (e) return self->fail({errc::peer_lost, "cannot connect to " + self->peer_name() + ": " + e.message()});
    self->socket_.set_option(asio::ip::tcp::no_delay(true), e);
    asio::async_read(self->socket_, asio::buffer(self->about_.by_listener), [self](error_code e2, std::size_t) {
      if (e2) return self->fail({errc::peer_lost, self->peer_name() + " closed before the handshake"});
      self->say_hello();
    });
  });
}

void outgoing::say_hello() {
  about_.dialler = self_.endpoint;
  about_.listener = peer_.endpoint;
  about_.numerics = self_.numerics;
  about_.by_dialler = random_challenge();
  hello_ = encode(hello{.dialler = about_.dialler,
                        .listener = about_.listener,
                        .numerics = about_.numerics,
                        .asked = about_.by_dialler,
                        .answer = prove(self_.token, side::dialler, about_)});
  asio::async_write(socket_, asio::buffer(hello_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->fail({errc::peer_lost, self->peer_name() + " closed during the handshake"});
    asio::async_read(self->socket_, asio::buffer(self->welcome_), [self](error_code e2, std::size_t) {
      if (e2) return self->fail({errc::peer_lost, self->peer_name() + " closed during the handshake"});
      self->take_welcome();
    });
  });
}

void outgoing::take_welcome() {
  const auto w = decode_welcome(welcome_);
  if (!w) return fail({w.error().code, peer_name() + ": " + w.error().message});
  switch (w->outcome) {
  case verdict::token: return fail({errc::invalid_argument, peer_name() + " has another cluster token"});
  case verdict::numerics:
    return fail({errc::invalid_argument, peer_name() + " serves another model or numerics profile"});
  case verdict::endpoint: return fail({errc::peer_lost, "another process listens at " + peer_name() + " now"});
  case verdict::welcome: break;
  }
  if (!same(w->answer, prove(self_.token, side::listener, about_)))
    return fail({errc::invalid_argument, peer_name() + " did not prove that it has the cluster token"});
  connected_ = true;
  read_acks();
  write_next();
}

std::uint64_t outgoing::front_of_queues() {
  for (auto& queue : queues_) {
    while (!queue.empty() && !open_.contains(queue.front())) queue.pop_front(); // expired meanwhile
    if (!queue.empty()) return queue.front();
  }
  return 0;
}

std::vector<asio::const_buffer> outgoing::take_batch() {
  const auto take = [this](std::uint64_t id) {
    writing_.push_back(id);
    queues_[std::size_t(open_.at(id).what.kind)].pop_front();
  };
  flat_ = std::exchange(owed_, {});
  std::uint64_t id = 0;
  for (; (id = front_of_queues()) != 0; take(id)) {
    const auto& p = open_.at(id);
    const auto size = p.head.size() + p.what.message.size() + p.payload;
    if (size > most_copied || flat_.size() + size > most_together) break;
    flat_.insert(flat_.end(), p.head.begin(), p.head.end());
    flat_.insert(flat_.end(), p.what.message.begin(), p.what.message.end());
    for (const auto& s : p.what.slices) flat_.insert(flat_.end(), s.from.begin(), s.from.end());
  }
  reads_memory_ = writing_.empty() && id != 0;
  if (!reads_memory_) return {asio::buffer(flat_)};
  take(id);
  const auto& p = open_.at(id);
  std::vector<asio::const_buffer> buffers{asio::buffer(flat_), asio::buffer(p.head), asio::buffer(p.what.message)};
  for (const auto& s : p.what.slices) buffers.emplace_back(s.from.data(), s.from.size());
  return buffers;
}

void outgoing::write_next() {
  if (!connected_ || is_writing_ || dead_) return;
  const auto buffers = take_batch();
  const auto total = asio::buffer_size(buffers);
  if (total == 0) return;
  is_writing_ = true;
  std::uint64_t payload = 0;
  for (const auto id : writing_) payload += open_.at(id).payload;
  much_.set(total >= bulk_bytes);
  // Asio would write 64 KiB a call unless told how much is left.
  const auto left = [total](error_code e, std::size_t written) { return e ? 0 : total - written; };
  asio::async_write(socket_, buffers, left, [self = shared_from_this(), payload](error_code e, std::size_t) {
    if (e) return self->fail({errc::peer_lost, "lost " + self->peer_name() + " while sending: " + e.message()});
    self->sent_(payload);
    self->much_.set(false);
    self->is_writing_ = false;
    self->writing_.clear();
    for (const auto& [id, outcome] : std::exchange(self->early_, {})) self->finish(id, outcome);
    self->write_next();
  });
}

void outgoing::read_acks() {
  const auto room = stage_.room();
  socket_.async_read_some(asio::buffer(room.data(), room.size()),
                          [self = shared_from_this()](error_code e, std::size_t bytes) {
                            if (e) return self->fail({errc::peer_lost, self->peer_name() + " closed the connection"});
                            self->stage_.filled(bytes);
                            if (self->take_acks()) self->read_acks();
                          });
}

/// All that have come; false where the connection has ended.
bool outgoing::take_acks() {
  while (!dead_ && stage_.size() >= ack_head_bytes) {
    const auto a = decode_ack(stage_.waiting().first<ack_head_bytes>());
    if (!a) return fail(a.error()), false;
    if (stage_.size() < ack_head_bytes + a->text_bytes) break;
    stage_.drop(ack_head_bytes);
    std::string text(a->text_bytes, '\0');
    stage_.take(std::as_writable_bytes(std::span(text)));
    const auto outcome = a->code == 0 ? result<void>() : result<void>(errc(a->code - 1), std::move(text));
    acked(a->id, outcome);
  }
  return !dead_;
}

void outgoing::acked(std::uint64_t id, const result<void>& outcome) {
  if (reads_memory_ && std::ranges::find(writing_, id) != writing_.end())
    early_.insert_or_assign(id, outcome);
  else
    finish(id, outcome);
}

bool outgoing::carry(std::span<const std::byte> ack) {
  if (!connected_ || dead_ || owed_.size() > most_owed || (is_writing_ && reads_memory_)) return false;
  owed_.insert(owed_.end(), ack.begin(), ack.end());
  return has_carried_ = true;
}

void outgoing::finish(std::uint64_t id, const result<void>& outcome) {
  const auto found = open_.find(id);
  if (found == open_.end()) return; // already past its deadline
  const auto done = std::move(found->second.done);
  open_.erase(found);
  done(outcome);
}

void outgoing::fail(const failure& why) {
  if (dead_) return;
  dead_ = true;
  much_.set(false);
  error_code ignored;
  socket_.close(ignored); // the pending write reads no more of anybody's memory: it runs on this thread
  auto lost = std::exchange(open_, {});
  const auto known = std::exchange(early_, {});
  for (auto& [id, p] : lost) {
    const auto outcome = known.find(id);
    p.done(outcome == known.end() ? result<void>(why) : outcome->second);
  }
}

void outgoing::expire(steady_clock::time_point now) {
  for (auto it = open_.begin(); it != open_.end();) {
    if (it->second.deadline > now) {
      ++it;
      continue;
    }
    const failure stuck{errc::peer_lost, "gave up the connection to " + peer_name() + ": a transfer is stuck in it"};
    if (early_.contains(it->first)) return fail(stuck); // it has its answer; the others are lost
    const auto late = open_.extract(it++);
    if (std::ranges::find(writing_, late.key()) != writing_.end()) fail(stuck);
    late.mapped().done(failure{errc::deadline, "a transfer to " + peer_name() + " passed its deadline"});
    if (dead_) return;
  }
  if (dialled_ && !connected_ && now > due_)
    fail({errc::peer_lost, peer_name() + " did not complete the handshake in time"});
}

} // namespace quadrant::transport::tcp
