#include "transport/tcp/outgoing.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "transport/checksum.hpp"

namespace quadrant::transport::tcp {

namespace asio = boost::asio;
using boost::system::error_code;

outgoing::outgoing(asio::io_context& io, identity self, address peer, std::function<void(std::uint64_t)> sent)
    : socket_(io), self_(std::move(self)), peer_(std::move(peer)), sent_(std::move(sent)) {}

void outgoing::submit(std::uint32_t inbox, transfer what, completion done) {
  if (dead_) return done(failure{errc::peer_lost, "the connection to the peer is closed"});
  const auto id = next_id_++;
  const auto kind = std::size_t(what.kind);
  const transfer_head head{.inbox = inbox, .id = id, .message_bytes = std::uint32_t(what.message.size()),
                           .num_slices = std::uint32_t(what.slices.size()), .checksum = what.checksum,
                           .hash = what.checksum ? checksum_of(what.slices) : 0};
  auto bytes = encode(head, what.slices);
  const auto deadline = std::chrono::steady_clock::now() + what.timeout;
  open_.emplace(id, pending{inbox, std::move(what), std::move(done), deadline, std::move(bytes)});
  queues_[kind].push_back(id);
  if (!std::exchange(dialled_, true)) return connect();
  write_next();
}

void outgoing::connect() {
  error_code bad;
  const auto host = asio::ip::make_address(peer_.host, bad);
  if (bad) return fail({errc::invalid_argument, "peer address " + peer_.host + " is not an IP address"});
  socket_.async_connect({host, peer_.port}, [self = shared_from_this()](error_code e) {
    if (e) return self->fail({errc::peer_lost, "cannot connect to " + self->peer_.host + ":" + std::to_string(self->peer_.port) + ": " + e.message()});
    self->socket_.set_option(asio::ip::tcp::no_delay(true), e);
    asio::async_read(self->socket_, asio::buffer(self->challenge_), [self](error_code e2, std::size_t) {
      if (e2) return self->fail({errc::peer_lost, "the peer closed before the handshake"});
      self->say_hello();
    });
  });
}

void outgoing::say_hello() {
  hello_ = encode(hello{.endpoint = self_.endpoint, .numerics = self_.numerics, .answer = prove(self_.token, challenge_, self_.endpoint)});
  asio::async_write(socket_, asio::buffer(hello_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->fail({errc::peer_lost, "the peer closed during the handshake"});
    self->connected_ = true;
    self->read_ack();
    self->write_next();
  });
}

void outgoing::write_next() {
  if (!connected_ || writing_ != 0 || dead_) return;
  for (auto& queue : queues_) {
    while (!queue.empty() && !open_.contains(queue.front())) queue.pop_front(); // expired meanwhile
    if (queue.empty()) continue;
    writing_ = queue.front();
    queue.pop_front();
    break;
  }
  if (writing_ == 0) return;
  const auto& p = open_.at(writing_);
  std::vector<asio::const_buffer> buffers{asio::buffer(p.head), asio::buffer(p.what.message)};
  for (const auto& s : p.what.slices) buffers.emplace_back(s.from.data(), s.from.size());
  asio::async_write(socket_, buffers, [self = shared_from_this()](error_code e, std::size_t bytes) {
    if (e) return self->fail({errc::peer_lost, "lost the peer while sending: " + e.message()});
    self->sent_(bytes);
    self->writing_ = 0;
    self->write_next();
  });
}

void outgoing::read_ack() {
  asio::async_read(socket_, asio::buffer(ack_head_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->fail({errc::peer_lost, "the peer closed the connection"});
    const auto a = decode_ack(self->ack_head_);
    if (!a) return self->fail(a.error());
    self->ack_text_.resize(a->text_bytes);
    asio::async_read(self->socket_, asio::buffer(self->ack_text_), [self, a = *a](error_code e2, std::size_t) {
      if (e2) return self->fail({errc::peer_lost, "the peer closed the connection"});
      self->finish(a.id, a.code == 0 ? result<void>() : result<void>(errc(a.code - 1), self->ack_text_));
      self->read_ack();
    });
  });
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
  error_code ignored;
  socket_.close(ignored);
  auto lost = std::exchange(open_, {});
  for (auto& [id, p] : lost) p.done(why);
}

void outgoing::expire(std::chrono::steady_clock::time_point now) {
  for (auto it = open_.begin(); it != open_.end();) {
    if (it->second.deadline > now) {
      ++it;
      continue;
    }
    if (it->first == writing_) return fail({errc::deadline, "a transfer passed its deadline while it was being written"});
    const auto done = std::move(it->second.done);
    it = open_.erase(it);
    done(failure{errc::deadline, "a transfer passed its deadline"});
  }
}

} // namespace quadrant::transport::tcp
