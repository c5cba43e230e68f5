#include "transport/stream/outgoing.hpp"

#include <algorithm>

#include "config/log.hpp"
#include "transport/checksum.hpp"

namespace quadrant::transport::stream {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::steady_clock;

namespace {
constexpr std::size_t most_copied = 2 << 10; // bytes of slices
constexpr std::size_t most_small = 16 << 10,
                      most_together = 256 << 10; // bytes of a piece that leaves with others; of all
constexpr std::size_t most_pieces = 24;     // that are not copied: with what is between them a system call takes 64
constexpr std::size_t most_owed = 64 << 10; // then the peer does not read: no more
} // namespace

outgoing::outgoing(const dialling& dial, const identity& self, address peer, bulk_count& bulk, outbox& box,
                   outbox::lane_id id, events told)
    : dial_(dial), self_(self), peer_(std::move(peer)), much_(bulk), box_(box), id_(id), told_(std::move(told)) {}

void outgoing::connect() {
  due_ = steady_clock::now() + self_.handshake_timeout;
  end_dialling_ = dial_.dial(peer_, [self = shared_from_this()](result<std::unique_ptr<byte_stream>> stream) {
    self->end_dialling_ = {};
    if (self->dead_) return;
    if (!stream) return self->close(stream.error());
    self->stream_ = std::move(*stream);
    read_all(*self->stream_, self->about_.by_listener, [self](error_code e, std::size_t) {
      if (e) return self->close({errc::peer_lost, self->peer_name() + " closed before the handshake"});
      self->say_hello();
    });
  });
}

void outgoing::say_hello() {
  about_.dialler = self_.endpoint;
  about_.listener = peer_.endpoint;
  about_.numerics = self_.numerics;
  about_.by_dialler = random_challenge();
  if (stream_->moves_by_itself() && dial_.make_upgrade) upgrade_ = dial_.make_upgrade();
  if (upgrade_) about_.offer_of_dialler = upgrade_->offer();
  hello_ = encode(hello{.dialler = about_.dialler,
                        .listener = about_.listener,
                        .numerics = about_.numerics,
                        .asked = about_.by_dialler,
                        .answer = prove(self_.token, side::dialler, about_),
                        .offer = about_.offer_of_dialler});
  stream_->write({asio::buffer(hello_)}, [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close({errc::peer_lost, self->peer_name() + " closed during the handshake"});
    read_all(*self->stream_, self->welcome_, [self](error_code e2, std::size_t) {
      if (e2) return self->close({errc::peer_lost, self->peer_name() + " closed during the handshake"});
      self->take_welcome();
    });
  });
}

void outgoing::take_welcome() {
  const auto w = decode_welcome(welcome_);
  if (!w) return close({w.error().code, peer_name() + ": " + w.error().message});
  switch (w->outcome) {
  case verdict::token: return close({errc::invalid_argument, peer_name() + " has another cluster token"});
  case verdict::numerics:
    return close({errc::invalid_argument, peer_name() + " serves another model or numerics profile"});
  case verdict::endpoint: return close({errc::peer_lost, "another process listens at " + peer_name() + " now"});
  case verdict::welcome: break;
  }
  about_.offer_of_listener = w->offer;
  if (!same(w->answer, prove(self_.token, side::listener, about_)))
    return close({errc::invalid_argument, peer_name() + " did not prove that it has the cluster token"});
  if (upgrade_ && w->offer != upgrade_offer{}) {
    if (const auto possible = upgrade_->connect(w->offer); !possible) {
      told_.no_upgrade(possible.error());
      return close({errc::peer_lost, peer_name() + ": " + possible.error().message});
    }
    stream_ = upgrade_->finish(std::move(stream_));
  }
  upgrade_.reset();
  connected_ = true;
  log::info("transport", "connected to " + peer_name() + " over " + stream_->path());
  read_acks();
  told_.connected(*w);
}

std::vector<asio::const_buffer> outgoing::take_batch(bool kv) {
  flat_ = std::exchange(owed_, {});
  payload_ = 0;
  reads_memory_ = false;
  const auto append = [this](std::span<const std::byte> bytes) {
    flat_.insert(flat_.end(), bytes.begin(), bytes.end());
  };
  std::vector<std::pair<std::size_t, std::span<const slice>>> in_place; // where in flat_ they belong
  std::size_t total = 0, pieces = 0;
  for (auto next = box_.front(kv); next; next = box_.front(kv)) {
    const auto size =
        transfer_head_bytes + next->slices.size() * slice_entry_bytes + next->message.size() + next->bytes;
    if (total > 0 && (size > most_small || total + size > most_together)) break;
    if (next->head.checksum) next->head.hash = checksum_of(next->slices);
    append(encode(next->head, next->slices));
    append(next->message);
    const bool copied = next->bytes <= most_copied;
    for (const auto& s : next->slices)
      if (copied) append(s.from);
    if (!copied) in_place.emplace_back(flat_.size(), next->slices);
    reads_memory_ = reads_memory_ || !copied;
    payload_ += next->bytes;
    total += size;
    box_.take(id_, copied);
    pieces += copied ? 0 : next->slices.size();
    if (size > most_small || pieces > most_pieces) break;
  }
  std::vector<asio::const_buffer> buffers;
  std::size_t begin = 0;
  for (const auto& [end, slices] : in_place) {
    buffers.emplace_back(flat_.data() + begin, end - begin);
    begin = end;
    for (const auto& s : slices) buffers.emplace_back(s.from.data(), s.from.size());
  }
  buffers.emplace_back(flat_.data() + begin, flat_.size() - begin);
  return buffers;
}

void outgoing::write_next(bool kv) {
  takes_kv_ = kv;
  if (!connected_ || is_writing_ || dead_) return;
  const auto buffers = take_batch(kv);
  const auto total = asio::buffer_size(buffers);
  if (total == 0) return;
  is_writing_ = true;
  much_.set(stream_->moves_by_itself() && total >= bulk_bytes);
  stream_->write(buffers, [self = shared_from_this()](error_code e, std::size_t) {
    if (self->dead_) return;
    if (e) return self->close({errc::peer_lost, "lost " + self->peer_name() + " while sending: " + e.message()});
    self->told_.sent(self->payload_);
    self->much_.set(false);
    self->is_writing_ = false;
    if (self->reads_memory_) self->box_.written(self->id_);
    self->write_next(self->takes_kv_);
  });
}

void outgoing::read_acks() {
  const auto room = stage_.room();
  const asio::mutable_buffer where(room.data(), room.size());
  stream_->read_some(std::span(&where, 1), [self = shared_from_this()](error_code e, std::size_t bytes) {
    if (e) return self->close({errc::peer_lost, self->peer_name() + " closed the connection"});
    self->stage_.filled(bytes);
    if (self->take_acks()) self->read_acks();
  });
}

/// All that have come; false where the connection has ended.
bool outgoing::take_acks() {
  while (!dead_ && stage_.size() >= ack_head_bytes) {
    const auto a = decode_ack(stage_.waiting().first<ack_head_bytes>());
    if (!a) return close(a.error()), false;
    if (stage_.size() < ack_head_bytes + a->text_bytes) break;
    stage_.drop(ack_head_bytes);
    std::string text(a->text_bytes, '\0');
    stage_.take(std::as_writable_bytes(std::span(text)));
    const auto outcome = a->code == 0 ? result<void>() : result<void>(errc(a->code - 1), std::move(text));
    box_.answered(a->id, outcome);
  }
  return !dead_;
}

bool outgoing::carry(std::span<const std::byte> frame) {
  if (!connected_ || dead_ || owed_.size() > most_owed || (is_writing_ && payload_ >= bulk_bytes)) return false;
  owed_.insert(owed_.end(), frame.begin(), frame.end());
  return true;
}

void outgoing::close(const failure& why) {
  if (std::exchange(dead_, true)) return;
  much_.set(false);
  if (end_dialling_) end_dialling_();
  if (stream_) stream_->close();
  told_.lost(why);
}

void outgoing::expire(steady_clock::time_point now) {
  if (!connected_ && now > due_) close({errc::peer_lost, peer_name() + " did not complete the handshake in time"});
}

} // namespace quadrant::transport::stream
