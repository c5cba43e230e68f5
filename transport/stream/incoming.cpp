#include "transport/stream/incoming.hpp"

#include <algorithm>

#include <boost/asio/error.hpp>
#include <boost/container/static_vector.hpp>

#include "config/log.hpp"
#include "transport/checksum.hpp"

namespace quadrant::transport::stream {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::steady_clock;

namespace {
constexpr std::size_t scratch_bytes = 64 << 10;
constexpr std::size_t most_places = most_read_buffers - 1; // and the stage
constexpr std::size_t many_acks = 32;                      // that wait: they leave at once
constexpr std::size_t max_acks = 1024; // answers that a peer has not read yet; then we read no more from it
} // namespace

void incoming::start() {
  due_ = steady_clock::now() + home_.self.handshake_timeout;
  stream_->write({asio::buffer(challenge_)}, [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    self->read_hello();
  });
}

void incoming::read_hello() {
  read_all(*stream_, hello_, [self = shared_from_this()](error_code e, std::size_t) {
    if (e) return self->close();
    const auto h = decode_hello(self->hello_);
    if (!h) return self->give_up(h.error().message);
    self->answer_hello(*h);
  });
}

void incoming::answer_hello(const hello& h) {
  const auto& us = home_.self;
  meeting about{.dialler = h.dialler,
                .listener = h.listener,
                .numerics = h.numerics,
                .by_listener = challenge_,
                .by_dialler = h.asked,
                .offer_of_dialler = h.offer};
  welcome w{.credits = home_.credits};
  if (!same(h.answer, prove(us.token, side::dialler, about)))
    w.outcome = verdict::token;
  else if (h.listener != us.endpoint)
    w.outcome = verdict::endpoint;
  else if (h.numerics != us.numerics)
    w.outcome = verdict::numerics;
  else {
    if (h.offer != upgrade_offer{} && home_.make_upgrade) upgrade_ = home_.make_upgrade();
    if (upgrade_ && !upgrade_->connect(h.offer)) upgrade_.reset();
    if (upgrade_) w.offer = about.offer_of_listener = upgrade_->offer();
    w.answer = prove(us.token, side::listener, about);
  }
  if (w.outcome == verdict::welcome) { // from now on it counts among the peer's streams
    peer_ = h.dialler;
    intake_ = &home_.intake_of(peer_);
  }
  welcome_ = encode(w);
  stream_->write({asio::buffer(welcome_)}, [self = shared_from_this(), outcome = w.outcome](error_code e, std::size_t) {
    if (e) return self->close();
    switch (outcome) {
    case verdict::token: return self->give_up("its cluster token is wrong");
    case verdict::endpoint: return self->give_up("it looks for another process");
    case verdict::numerics: return self->give_up("it serves another model or numerics profile");
    case verdict::welcome: break;
    }
    if (self->upgrade_) self->stream_ = self->upgrade_->finish(std::move(self->stream_));
    self->upgrade_.reset();
    self->go_on();
  });
}

void incoming::give_up(std::string_view why) {
  if (!dead_) log::warn("transport", std::string("closed a peer's connection: ").append(why));
  close();
}

void incoming::close() {
  dead_ = true;
  much_.set(false);
  stream_->close();
  unpin_all();
  if (intake_ != nullptr) intake_->lane_gone(id_);
}

void incoming::unpin_all() {
  for (const auto key : pins_) home_.regions.unpin(key);
  pins_.clear();
}

void incoming::refuse(failure why) {
  outcome_ = std::move(why);
  places_.clear();
  unpin_all();
}

void incoming::evict(std::uint64_t key) {
  if (std::ranges::find(pins_, key) == pins_.end()) return;
  stream_->cancel_read(); // first: nothing may write there any more; it comes back soon, and the rest goes into scratch
  refuse({errc::invalid_argument, "the memory was deregistered while bytes arrived"});
}

void incoming::expire(steady_clock::time_point now) {
  if (now > due_) give_up(peer_ == 0 ? "it did not prove itself in time" : "a transfer stopped arriving half-way");
}

void incoming::go_on() {
  while (!dead_ && !waits_for_acks_) {
    switch (part_) {
    case part::head:
      if (!take_head()) return read_more();
      part_ = part::table;
      break;
    case part::table:
      if (!take_table()) return read_more();
      part_ = part::slices;
      break;
    case part::slices:
      if (!take_slices()) return read_more();
      part_ = part::head;
      end_piece();
    }
  }
}

/// The peer's answers to what we have sent it, and its questions, which come with its transfers.
bool incoming::take_answers() {
  for (; !dead_ && stage_.size() >= ack_head_bytes; deliver_ready()) {
    const auto kind = kind_of(stage_.waiting());
    if (kind == frame_kind::ask) {
      if (stage_.size() < ask_bytes) return false;
      const auto a = decode_ask(stage_.take<ask_bytes>());
      if (!a) return give_up(a.error().message), false;
      intake_->raise_floor(a->floor);
      if (a->forget)
        intake_->forget(a->id, a->after);
      else if (const auto known = intake_->outcome_of(a->id))
        answer(a->id, *known);
      continue;
    }
    if (kind != frame_kind::ack) break;
    const auto a = decode_ack(stage_.waiting().first<ack_head_bytes>());
    if (!a) return give_up(a.error().message), false;
    if (stage_.size() < ack_head_bytes + a->text_bytes) return false;
    stage_.drop(ack_head_bytes);
    std::string text(a->text_bytes, '\0');
    stage_.take(std::as_writable_bytes(std::span(text)));
    home_.acked(peer_, a->id, a->code == 0 ? result<void>() : result<void>(errc(a->code - 1), std::move(text)));
  }
  return !dead_;
}

bool incoming::take_head() {
  if (!take_answers() || stage_.size() < transfer_head_bytes) return false;
  const auto head = decode_transfer(stage_.take<transfer_head_bytes>());
  if (!head) return give_up(head.error().message), false;
  const auto opening = intake_->begin(*head, id_);
  if (!opening) return give_up(opening.error().message), false;
  if (opening->stale != 0 && opening->stale != id_) home_.close_lane(opening->stale);
  wanted_ = opening->wanted;
  head_ = *head;
  table_.resize(head_.num_slices * slice_entry_bytes);
  message_.resize(head_.message_bytes);
  filled_ = 0;
  return true;
}

bool incoming::take_table() {
  if (filled_ < table_.size()) filled_ += stage_.take(std::span(table_).subspan(filled_));
  if (filled_ >= table_.size()) filled_ += stage_.take(std::span(message_).subspan(filled_ - table_.size()));
  if (filled_ < table_.size() + message_.size()) return false;
  auto slices = decode_slices(table_);
  if (!slices) return give_up(slices.error().message), false;
  slices_ = std::move(*slices);
  index_ = 0;
  got_ = 0;
  places_.clear();
  outcome_ = {};
  if (wanted_) pin_all();
  return true;
}

void incoming::pin_all() {
  for (const auto& to : slices_) {
    const auto place = home_.regions.pin(to);
    if (!place) return refuse(place.error());
    pins_.push_back(to.key);
    places_.push_back(*place);
  }
}

bool incoming::take_slices() {
  for (; index_ < slices_.size(); ++index_, got_ = 0) {
    const auto& to = slices_[index_];
    if (wanted_ && outcome_) {
      const auto n = stage_.take(places_[index_].subspan(got_));
      home_.placed(n);
      got_ += n;
    } else {
      const auto n = std::min<std::uint64_t>(stage_.size(), to.bytes - got_);
      stage_.drop(n);
      got_ += n;
    }
    if (got_ < to.bytes) return false;
  }
  return true;
}

void incoming::read_more() {
  if (dead_) return;
  const bool owes = part_ != part::head || stage_.size() > 0;
  due_ = owes ? steady_clock::now() + home_.self.stall_timeout : steady_clock::time_point::max();
  boost::container::static_vector<asio::mutable_buffer, most_read_buffers> into;
  const bool in_place = part_ == part::slices && wanted_ && outcome_.ok();
  if (part_ == part::slices && !in_place) {
    scratch_.resize(scratch_bytes);
    into.emplace_back(scratch_.data(), std::min<std::uint64_t>(slices_[index_].bytes - got_, scratch_bytes));
  } else {
    if (in_place) {
      for (auto i = index_; i < slices_.size() && into.size() < most_places; ++i) {
        const auto rest = places_[i].subspan(i == index_ ? got_ : 0);
        into.emplace_back(rest.data(), rest.size());
      }
    } else if (part_ == part::table) {
      const auto of_table = std::min(filled_, table_.size()), of_message = filled_ - of_table;
      into.emplace_back(table_.data() + of_table, table_.size() - of_table);
      into.emplace_back(message_.data() + of_message, message_.size() - of_message);
    }
    if (!in_place || index_ + most_places >= slices_.size()) { // else what follows belongs to the next slice
      const auto room = stage_.room();
      into.emplace_back(room.data(), room.size());
    }
  }
  much_.set(stream_->moves_by_itself() && part_ == part::slices && asio::buffer_size(into) >= bulk_bytes);
  stream_->read_some(into, [self = shared_from_this(), in_place](error_code e, std::size_t bytes) {
    if (self->dead_) return;
    if (e && e != asio::error::operation_aborted) return self->close();
    self->arrived(bytes, in_place);
    self->go_on();
  });
}

/// in_place: the read was for slices in their places, which may have been refused since.
void incoming::arrived(std::size_t bytes, bool in_place) {
  switch (part_) {
  case part::head: break;
  case part::table: {
    const auto n = std::min(bytes, table_.size() + message_.size() - filled_);
    filled_ += n;
    bytes -= n;
    break;
  }
  case part::slices:
    while (bytes > 0 && index_ < slices_.size()) {
      const auto n = std::min<std::uint64_t>(bytes, slices_[index_].bytes - got_);
      if (in_place) home_.placed(n);
      got_ += n;
      bytes -= n;
      if (got_ == slices_[index_].bytes) ++index_, got_ = 0;
    }
  }
  stage_.filled(bytes);
}

void incoming::end_piece() {
  if (!wanted_) { // the peer did not hear of it
    if (const auto known = intake_->outcome_of(head_.id)) answer(head_.id, *known);
  } else {
    if (outcome_ && head_.checksum && checksum_of(places_) != head_.hash)
      refuse({errc::corrupt, "the checksum of a transfer is wrong"});
    unpin_all();
    intake_->end(head_, std::move(message_), outcome_);
    deliver_ready();
  }
  waits_for_acks_ = num_acks_ >= max_acks;
}

void incoming::deliver_ready() {
  while (auto whole = intake_->next_ready()) {
    const auto outcome = whole->outcome ? home_.inboxes.deliver(whole->inbox, whole->message) : whole->outcome;
    intake_->settle(whole->id, outcome);
    answer(whole->id, outcome);
    if (message_.capacity() == 0) message_.swap(whole->message); // its room serves the next
  }
}

void incoming::answer(std::uint64_t id, const result<void>& outcome) {
  const auto bytes =
      outcome ? encode(ack{.id = id}, "")
              : encode(ack{.id = id, .code = std::uint32_t(outcome.error().code) + 1}, outcome.error().message);
  if (home_.carry(peer_, bytes)) return;
  acks_.insert(acks_.end(), bytes.begin(), bytes.end());
  ++num_acks_;
  if (num_acks_ == many_acks) return write_acks();
  if (!std::exchange(acks_owed_, true)) home_.owing.push_back(shared_from_this());
}

void incoming::write_acks() {
  if (dead_ || acks_.empty() || !acks_leaving_.empty()) return;
  acks_owed_ = true;
  acks_leaving_.swap(acks_);
  stream_->write({asio::buffer(acks_leaving_)},
                 [self = shared_from_this(), leaving = num_acks_](error_code e, std::size_t) {
                   if (e) return self->close();
                   self->num_acks_ -= leaving;
                   self->acks_leaving_.clear();
                   self->acks_owed_ = false;
                   self->write_acks();
                   if (std::exchange(self->waits_for_acks_, false)) self->go_on();
                 });
}

} // namespace quadrant::transport::stream
