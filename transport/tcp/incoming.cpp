#include "transport/tcp/incoming.hpp"

#include <algorithm>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "config/log.hpp"
#include "transport/checksum.hpp"

namespace quadrant::transport::tcp {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::steady_clock;

namespace {
constexpr std::size_t scratch_bytes = 64 << 10;
constexpr std::size_t max_acks = 1024; // answers that a peer has not read yet; then we read no more from it
} // namespace

void incoming::start() {
  due_ = steady_clock::now() + home_.self.handshake_timeout;
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  asio::async_write(socket_, asio::buffer(challenge_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    self->read_hello();
  });
}

void incoming::read_hello() {
  asio::async_read(socket_, asio::buffer(hello_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    const auto h = decode_hello(self->hello_);
    if (!h) return self->give_up(h.error().message);
    self->answer_hello(*h);
  });
}

void incoming::answer_hello(const hello& h) {
  const auto& us = home_.self;
  const meeting about{.dialler = h.dialler,
                      .listener = h.listener,
                      .numerics = h.numerics,
                      .by_listener = challenge_,
                      .by_dialler = h.asked};
  welcome w;
  if (!same(h.answer, prove(us.token, side::dialler, about)))
    w.outcome = verdict::token;
  else if (h.listener != us.endpoint)
    w.outcome = verdict::endpoint;
  else if (h.numerics != us.numerics)
    w.outcome = verdict::numerics;
  else
    w.answer = prove(us.token, side::listener, about);
  welcome_ = encode(w);
  asio::async_write(socket_, asio::buffer(welcome_),
                    [self = shared_from_this(), outcome = w.outcome, id = h.dialler](error_code e, std::size_t) {
                      if (e) return self->close();
                      switch (outcome) {
                      case verdict::token: return self->give_up("its cluster token is wrong");
                      case verdict::endpoint: return self->give_up("it looks for another process");
                      case verdict::numerics: return self->give_up("it serves another model or numerics profile");
                      case verdict::welcome: break;
                      }
                      self->peer_ = id;
                      self->read_head();
                    });
}

void incoming::give_up(std::string_view why) {
  if (!dead_) log::warn("transport", std::string("closed a peer's connection: ").append(why));
  close();
}

void incoming::close() {
  dead_ = true;
  error_code ignored;
  socket_.close(ignored); // no pending read writes any more: it runs on this thread
  unpin_all();
}

void incoming::unpin_all() {
  for (const auto key : pins_) home_.regions.unpin(key);
  pins_.clear();
}

void incoming::refuse(failure why) {
  outcome_ = std::move(why);
  placed_.clear();
  unpin_all();
}

void incoming::evict(std::uint64_t key) {
  if (std::ranges::find(pins_, key) == pins_.end()) return;
  refuse({errc::invalid_argument, "the memory was deregistered while bytes arrived"});
  stop_read_.emit(asio::cancellation_type::total); // it comes back at once, and the rest goes into scratch
}

void incoming::expire(steady_clock::time_point now) {
  if (now > due_) give_up(peer_ == 0 ? "it did not prove itself in time" : "a transfer stopped arriving half-way");
}

void incoming::read_head() {
  due_ = steady_clock::time_point::max(); // it owes nothing
  asio::async_read(socket_, asio::buffer(head_bytes_), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    const auto head = decode_transfer(self->head_bytes_);
    if (!head) return self->give_up(head.error().message);
    self->head_ = *head;
    self->read_table();
  });
}

void incoming::read_table() {
  due_ = steady_clock::now() + home_.self.stall_timeout;
  table_.resize(head_.num_slices * slice_entry_bytes);
  message_.resize(head_.message_bytes);
  const std::array<asio::mutable_buffer, 2> buffers{asio::buffer(table_), asio::buffer(message_)};
  asio::async_read(socket_, buffers, [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    auto slices = decode_slices(self->table_);
    if (!slices) return self->give_up(slices.error().message);
    self->slices_ = std::move(*slices);
    self->index_ = 0;
    self->got_ = 0;
    self->placed_.clear();
    self->outcome_ = {};
    self->read_slices();
  });
}

void incoming::read_slices() {
  while (index_ < slices_.size()) {
    const auto& to = slices_[index_];
    if (got_ == 0 && outcome_) {
      if (const auto place = home_.regions.pin(to)) {
        pins_.push_back(to.key);
        place_ = *place;
        placed_.push_back({place_, to});
      } else {
        refuse(place.error());
      }
    }
    if (got_ < to.bytes) return read_some(to.bytes - got_);
    ++index_;
    got_ = 0;
  }
  deliver();
}

void incoming::read_some(std::uint64_t left) {
  due_ = steady_clock::now() + home_.self.stall_timeout;
  const bool in_place = outcome_.ok();
  if (!in_place) scratch_.resize(scratch_bytes);
  const auto into =
      in_place ? place_.subspan(got_) : std::span(scratch_).first(std::min<std::uint64_t>(left, scratch_bytes));
  socket_.async_read_some(asio::buffer(into.data(), into.size()),
                          asio::bind_cancellation_slot(stop_read_.slot(), [self = shared_from_this(),
                                                                           in_place](error_code e, std::size_t bytes) {
                            if (self->dead_) return;
                            if (e && e != asio::error::operation_aborted) return self->close();
                            self->got_ += bytes;
                            if (in_place) self->home_.placed(bytes);
                            self->read_slices();
                          }));
}

void incoming::deliver() {
  if (outcome_ && head_.checksum && checksum_of(placed_) != head_.hash)
    refuse({errc::corrupt, "the checksum of a transfer is wrong"});
  unpin_all();
  if (outcome_) outcome_ = home_.inboxes.deliver(head_.inbox, message_);
  answer(outcome_);
  if (acks_.size() < max_acks)
    read_head();
  else
    waits_for_acks_ = true;
}

void incoming::answer(const result<void>& outcome) {
  acks_.push_back(
      outcome ? encode(ack{.id = head_.id}, "")
              : encode(ack{.id = head_.id, .code = std::uint32_t(outcome.error().code) + 1}, outcome.error().message));
  if (acks_.size() == 1) write_acks();
}

void incoming::write_acks() {
  asio::async_write(socket_, asio::buffer(acks_.front()), [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    self->acks_.pop_front();
    if (std::exchange(self->waits_for_acks_, false)) self->read_head();
    if (!self->acks_.empty()) self->write_acks();
  });
}

} // namespace quadrant::transport::tcp
