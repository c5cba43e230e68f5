#include "transport/tcp/incoming.hpp"

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <openssl/crypto.h>

#include "config/log.hpp"
#include "config/random.hpp"
#include "transport/checksum.hpp"

namespace quadrant::transport::tcp {

namespace asio = boost::asio;
using boost::system::error_code;

void incoming::start() {
  for (std::size_t i = 0; i < challenge_.size(); i += 8) {
    const auto word = random_u64();
    std::memcpy(challenge_.data() + i, &word, sizeof word);
  }
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  asio::async_write(socket_, asio::buffer(challenge_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    asio::async_read(self->socket_, asio::buffer(self->hello_), [self](error_code e2, std::size_t) {
      if (e2) return self->close();
      const auto h = decode_hello(self->hello_);
      const auto refuse = [&](std::string_view why) {
        log::warn("transport", std::string("refused a peer: ").append(why));
        self->close();
      };
      if (!h) return refuse(h.error().message);
      const auto wanted = prove(self->home_.token, self->challenge_, h->endpoint);
      if (CRYPTO_memcmp(wanted.data(), h->answer.data(), wanted.size()) != 0) return refuse("its cluster token is wrong");
      if (h->numerics != self->home_.numerics) return refuse("it serves another model or numerics profile");
      self->peer_ = h->endpoint;
      self->read_head();
    });
  });
}

void incoming::close() {
  dead_ = true;
  error_code ignored;
  socket_.close(ignored);
  unpin_all();
}

void incoming::unpin_all() {
  for (const auto key : pins_) home_.regions.unpin(key);
  pins_.clear();
}

void incoming::read_head() {
  asio::async_read(socket_, asio::buffer(head_bytes_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    const auto head = decode_transfer(self->head_bytes_);
    if (!head) {
      log::warn("transport", "a peer broke the frame format: " + head.error().message);
      return self->close();
    }
    self->head_ = *head;
    self->read_table();
  });
}

void incoming::read_table() {
  table_.resize(head_.num_slices * slice_entry_bytes);
  message_.resize(head_.message_bytes);
  const std::array<asio::mutable_buffer, 2> buffers{asio::buffer(table_), asio::buffer(message_)};
  asio::async_read(socket_, buffers, [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    auto slices = decode_slices(self->table_);
    if (!slices) {
      log::warn("transport", "a peer broke the frame format: " + slices.error().message);
      return self->close();
    }
    self->slices_ = std::move(*slices);
    self->placed_.clear();
    self->outcome_ = {};
    self->read_slice(0);
  });
}

void incoming::read_slice(std::size_t index) {
  if (index == slices_.size()) return deliver();
  const auto& to = slices_[index];
  const auto place = home_.regions.pin(to);
  if (!place) {
    outcome_ = place.error();
    return drain(index, to.bytes);
  }
  pins_.push_back(to.key);
  placed_.push_back({*place, to});
  asio::async_read(socket_, asio::buffer(place->data(), place->size()), [self = shared_from_this(), index](error_code e, std::size_t bytes) {
    if (e) return self->close();
    self->home_.received(bytes);
    self->read_slice(index + 1);
  });
}

/// Reads what a refused slice carries, and forgets it.
void incoming::drain(std::size_t index, std::uint64_t left) {
  if (left == 0) return read_slice(index + 1);
  scratch_.resize(64 << 10);
  const auto bytes = std::min<std::uint64_t>(left, scratch_.size());
  asio::async_read(socket_, asio::buffer(scratch_.data(), bytes), [self = shared_from_this(), index, left](error_code e, std::size_t got) {
    if (e) return self->close();
    self->drain(index, left - got);
  });
}

void incoming::deliver() {
  if (outcome_ && head_.checksum && checksum_of(placed_) != head_.hash) outcome_ = {errc::corrupt, "the checksum of a transfer is wrong"};
  unpin_all();
  if (outcome_) outcome_ = home_.inboxes.deliver(head_.inbox, message_);
  answer(outcome_);
  if (!dead_) read_head();
}

void incoming::answer(const result<void>& outcome) {
  acks_.push_back(outcome ? encode(ack{.id = head_.id}, "") : encode(ack{.id = head_.id, .code = std::uint32_t(outcome.error().code) + 1, .text_bytes = 0}, outcome.error().message));
  if (acks_.size() == 1) write_acks();
}

void incoming::write_acks() {
  asio::async_write(socket_, asio::buffer(acks_.front()), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    self->acks_.pop_front();
    if (!self->acks_.empty()) self->write_acks();
  });
}

} // namespace quadrant::transport::tcp
