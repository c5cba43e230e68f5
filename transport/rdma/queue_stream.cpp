#include "transport/rdma/queue_stream.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "config/log.hpp"
#include "transport/rdma/queue_parts.hpp"

namespace quadrant::transport::rdma {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t at_once = 64 << 10;     ///< of one write into the ring
constexpr std::size_t least_direct = 4 << 10; ///< of one buffer; less is copied
constexpr std::uint64_t least_announced = 16 << 10, most_announced = 256 << 20;
constexpr std::uint64_t direct_write = 1; ///< id of its completion; all others have 0

enum class word : std::uint32_t { data, given, announced, granted, placed };
constexpr std::uint32_t word_shift = 29, given_shift = 22;
constexpr std::uint32_t say(word kind, std::uint64_t value) {
  return std::uint32_t(kind) << word_shift | std::uint32_t(value);
}

/// A place of the other side's memory.
struct place {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0, rkey = 0;
};
static_assert(sizeof(place) == grant_bytes);

class queue_stream final : public stream::byte_stream, public stream::pollable {
public:
  queue_stream(queue_parts p, std::unique_ptr<byte_stream> under, stream::poll_set& set, asio::any_io_executor executor)
      : p_(std::move(p)), under_(std::move(under)), set_(set), events_(executor, p_.pair->fd()) {
    set_.add(*this);
    watch_under();
    watch_events();
  }
  ~queue_stream() override {
    *lives_ = false;
    set_.remove(*this);
    if (events_.is_open()) events_.release(); // the queue pair's
  }

  void read_some(std::span<const asio::mutable_buffer> into, handler done) override {
    into_.assign(into.begin(), into.end());
    read_done_ = std::move(done);
  }
  void cancel_read() override {
    if (granted_ > 0) break_off(); // its places may be written until then
    cancelled_ = true;
  }
  void write(std::vector<asio::const_buffer> from, handler done) override {
    from_ = std::move(from);
    sources_.assign(from_.size(), nullptr);
    part_ = done_of_part_ = written_ = through_ring_ = 0;
    write_done_ = std::move(done);
    push();
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    under_->close();
    break_off();
    into_.clear();
    from_.clear();
    // Not here: a handler may own what owns this.
    for (auto* which : {&read_done_, &write_done_})
      if (*which)
        asio::post(events_.get_executor(),
                   [done = std::exchange(*which, {})] { done(asio::error::operation_aborted, 0); });
  }
  [[nodiscard]] bool moves_by_itself() const noexcept override { return true; }
  [[nodiscard]] const char* path() const noexcept override { return "rdma"; }

  std::size_t poll() override {
    const auto lives = lives_;
    if (p_.pair) take_completions();
    if (p_.pair) give_back(); // where the device took no more before
    std::size_t done = 0;
    if (read_done_ && pull()) ++done;
    if (!*lives || !write_done_) return done;
    push();
    if (is_written()) {
      sources_.clear(); // whoever deregisters them now is not kept from it
      tell(write_done_, {}, written_), ++done;
    } else if (ended_)
      tell(write_done_, asio::error::broken_pipe, 0), ++done;
    return done;
  }
  bool prepare_to_sleep() override {
    if (!p_.pair) return true;
    if (std::exchange(was_woken_, false)) p_.pair->drain();
    p_.pair->arm();
    take_completions();
    const bool can_read =
        read_done_ && (cancelled_ || ended_ || taken_ < arrived_ || placed_ > 0 || (announced_ > 0 && granted_ == 0));
    const bool can_write = write_done_ && (ended_ || is_written() || can_push());
    return !can_read && !can_write;
  }

private:
  static void tell(handler& which, error_code e, std::size_t n) {
    const auto done = std::exchange(which, {});
    done(e, n);
  }
  /// The device reads and writes nothing of it any more.
  void break_off() {
    ended_ = true;
    if (events_.is_open()) events_.release();
    p_.pair.reset();
    sources_.clear();
    places_.clear();
  }

  void take_completions() {
    for (const auto& c : p_.pair->poll()) {
      if (!c.received && c.id == direct_write) --direct_;
      if (!c.outcome) {
        ended_ = true;
      } else if (c.received) {
        if (!p_.pair->post_receive(0)) ended_ = true;
        if (!heard(word(c.value >> word_shift), c.value & ((1u << word_shift) - 1))) ended_ = true;
      }
    }
  }
  /// False where that cannot be: nothing is believed.
  [[nodiscard]] bool heard(word kind, std::uint32_t value) {
    switch (kind) {
    case word::data:
      arrived_ += value;
      ++messages_in_;
      if (announced_ == 0 && arrived_ - taken_ <= ring_bytes) return true;
      arrived_ = taken_;
      return false;
    case word::given: {
      const auto bytes = value & ((1u << given_shift) - 1), messages = value >> given_shift;
      if (bytes > sent_ - freed_ || messages > messages_out_) return false;
      freed_ += bytes, messages_out_ -= messages;
      return true;
    }
    case word::announced:
      if (announced_ > 0 || value == 0) return false;
      announced_ = value;
      return true;
    case word::granted: return take_grant(value);
    case word::placed:
      if (granted_ == 0 || value != granted_) return false;
      placed_ = std::exchange(granted_, 0);
      announced_ -= placed_;
      places_.clear();
      return true;
    }
    return false;
  }

  /// From the ring to where the reader wants it, or what lies there; true where a handler ran.
  bool pull() {
    const bool cancelled = std::exchange(cancelled_, false);
    if (placed_ > 0) {
      p_.known->bytes_placed += placed_;
      return tell(read_done_, {}, std::exchange(placed_, 0)), true;
    }
    if (cancelled && !ended_) return tell(read_done_, asio::error::operation_aborted, 0), true;
    std::size_t sum = 0;
    for (const auto& where : into_) {
      auto* to = static_cast<std::byte*>(where.data());
      for (auto left = where.size(); left > 0 && taken_ < arrived_;) {
        const auto at = std::size_t(taken_ % ring_bytes);
        const auto n = std::min({left, std::size_t(arrived_ - taken_), ring_bytes - at});
        std::memcpy(to, p_.inbox.data() + at, n);
        to += n, left -= n, taken_ += n, sum += n;
      }
    }
    if (sum > 0) {
      give_back();
      return tell(read_done_, {}, sum), true;
    }
    if (ended_) return tell(read_done_, asio::error::eof, 0), true;
    if (announced_ > 0 && granted_ == 0) grant();
    return false;
  }
  void give_back() {
    const auto bytes = taken_ - given_back_;
    if (ended_ || (bytes < ring_bytes / 4 && messages_in_ < many_messages)) return;
    if (!tell_peer(say(word::given, messages_in_ << given_shift | bytes))) return; // with the next bytes taken
    given_back_ = taken_;
    messages_in_ = 0;
  }
  [[nodiscard]] bool tell_peer(std::uint32_t what) {
    return p_.pair->post_write(0, {}, {p_.theirs.address, p_.theirs.key}, what);
  }
  /// The places that the reader reads into, as far as the device may write them.
  void grant() {
    std::uint64_t bytes = 0;
    auto* grants = p_.outbox.data() + ring_bytes;
    std::size_t count = 0;
    places_.clear();
    for (const auto& where : into_) {
      const auto n = std::min<std::uint64_t>(where.size(), announced_ - bytes);
      if (n == 0) continue;
      auto region = p_.known->find({static_cast<const std::byte*>(where.data()), n});
      if (!region || count == most_granted) break;
      const place granted{reinterpret_cast<std::uint64_t>(where.data()), std::uint32_t(n), region->rkey()};
      std::memcpy(grants + count++ * grant_bytes, &granted, grant_bytes);
      places_.push_back(std::move(region));
      bytes += n;
    }
    const local_piece piece{{grants, count * grant_bytes}, p_.outbox_region->lkey()};
    if (!p_.pair->post_write(0, std::span(&piece, 1), {p_.theirs.address + ring_bytes, p_.theirs.key},
                             say(word::granted, count)))
      return; // when it is asked next
    granted_ = bytes;
    if (count == 0) announced_ = 0; // the ring brings the rest
  }

  [[nodiscard]] bool is_written() const { return part_ == from_.size() && direct_ == 0; }
  [[nodiscard]] std::size_t room() const {
    return messages_out_ < most_messages ? std::size_t(p_.theirs.bytes - (sent_ - freed_)) : 0;
  }
  [[nodiscard]] bool can_push() const {
    return part_ < from_.size() && (waits_for_grant_ ? false : !targets_.empty() ? direct_ < most_direct : room() > 0);
  }
  /// As much as the other side has room for.
  void push() {
    while (part_ < from_.size() && !ended_) {
      if (waits_for_grant_) return;
      if (!targets_.empty() ? !push_direct() : announce() || !push_into_ring()) return;
    }
  }
  /// True where what comes next has been announced now.
  bool announce() {
    if (done_of_part_ > 0 || part_ < through_ring_) return false;
    std::uint64_t bytes = 0;
    auto end = part_;
    for (; end < from_.size(); ++end) {
      const std::span from(static_cast<const std::byte*>(from_[end].data()), from_[end].size());
      if (from.size() < least_direct || bytes + from.size() > most_announced) break;
      sources_[end] = p_.known->find(from);
      if (!sources_[end]) break;
      bytes += from.size();
    }
    announced_end_ = std::max(end, part_ + 1);
    if (bytes < least_announced) {
      through_ring_ = announced_end_;
      return false;
    }
    if (!tell_peer(say(word::announced, bytes))) return true; // again when it is asked next
    left_ = bytes;
    return waits_for_grant_ = true;
  }
  [[nodiscard]] bool take_grant(std::uint32_t count) {
    if (!std::exchange(waits_for_grant_, false) || count > most_granted) return false;
    if (count == 0) through_ring_ = announced_end_, left_ = 0;
    std::uint64_t bytes = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      place p;
      std::memcpy(&p, p_.inbox.data() + ring_bytes + i * grant_bytes, grant_bytes);
      if (p.bytes == 0 || p.bytes > left_ - bytes) return false;
      bytes += p.bytes;
      targets_.push_back(p);
    }
    granted_to_us_ = bytes;
    return true;
  }
  /// One write, from one buffer to one place; false where the device takes no more now.
  [[nodiscard]] bool push_direct() {
    auto& to = targets_.front();
    const auto* from = static_cast<const std::byte*>(from_[part_].data()) + done_of_part_;
    const auto n = std::min<std::size_t>(from_[part_].size() - done_of_part_, to.bytes);
    const bool last = targets_.size() == 1 && n == to.bytes;
    const local_piece piece{{from, n}, sources_[part_]->lkey()};
    if (direct_ == most_direct ||
        !p_.pair->post_write(direct_write, std::span(&piece, 1), {to.address, to.rkey},
                             last ? std::optional(say(word::placed, granted_to_us_)) : std::nullopt))
      return false;
    ++direct_;
    written_ += n, left_ -= n;
    to.address += n, to.bytes -= std::uint32_t(n);
    if (to.bytes == 0) targets_.pop_front();
    advance(n);
    waits_for_grant_ = targets_.empty() && left_ > 0; // the reader goes on granting
    return true;
  }
  /// False where there is no room.
  [[nodiscard]] bool push_into_ring() {
    const auto left = from_[part_].size() - done_of_part_;
    const auto at = std::size_t(sent_ % p_.theirs.bytes);
    const auto n = std::min({left, room(), std::size_t(p_.theirs.bytes) - at, at_once});
    if (n == 0 && left > 0) return false;
    if (n > 0) {
      auto* staged = p_.outbox.data() + at;
      std::memcpy(staged, static_cast<const std::byte*>(from_[part_].data()) + done_of_part_, n);
      const local_piece piece{{staged, n}, p_.outbox_region->lkey()};
      if (!p_.pair->post_write(0, std::span(&piece, 1), {p_.theirs.address + at, p_.theirs.key}, say(word::data, n)))
        return false;
      sent_ += n, written_ += n;
      ++messages_out_;
    }
    advance(n);
    return true;
  }
  void advance(std::size_t n) {
    done_of_part_ += n;
    if (done_of_part_ == from_[part_].size()) ++part_, done_of_part_ = 0;
  }

  void watch_under() {
    const asio::mutable_buffer where(&under_byte_, 1);
    under_->read_some(std::span(&where, 1), [this, lives = lives_](error_code, std::size_t) {
      if (*lives) ended_ = true; // nothing is said there any more: it has ended
    });
  }
  void watch_events() {
    events_.async_wait(asio::posix::stream_descriptor::wait_read, [this, lives = lives_](error_code e) {
      if (!*lives || e || !p_.pair) return;
      was_woken_ = true;
      p_.pair->drain();
      watch_events();
    });
  }

  using regions = std::vector<std::shared_ptr<const registered_memory>>;
  // What the device may still use goes after the queue pair.
  regions places_;  ///< granted
  regions sources_; ///< of the parts that were announced
  queue_parts p_;
  std::unique_ptr<byte_stream> under_;
  stream::poll_set& set_;
  asio::posix::stream_descriptor events_;
  std::vector<asio::mutable_buffer> into_;
  std::vector<asio::const_buffer> from_;
  std::size_t part_ = 0, done_of_part_ = 0, written_ = 0; ///< of from_
  std::size_t through_ring_ = 0;                          ///< parts before it are not announced
  handler read_done_, write_done_;
  std::uint64_t sent_ = 0, freed_ = 0, arrived_ = 0, taken_ = 0, given_back_ = 0; ///< bytes in rings
  std::uint32_t messages_out_ = 0, messages_in_ = 0;                              ///< not given back
  // To us: announced by the other side, granted by us, placed by it. Nothing comes through the ring meanwhile.
  std::uint64_t announced_ = 0, granted_ = 0, placed_ = 0;
  // From us: announced and not written, the places that were granted for it.
  std::size_t announced_end_ = 0; ///< part
  std::uint64_t left_ = 0, granted_to_us_ = 0;
  std::deque<place> targets_;
  std::uint32_t direct_ = 0; ///< writes that read memory of from_
  bool waits_for_grant_ = false;
  std::byte under_byte_{};
  std::shared_ptr<bool> lives_ = std::make_shared<bool>(true); ///< for handlers of the events
  bool ended_ = false, closed_ = false, cancelled_ = false, was_woken_ = false;
};

class queue_upgrade final : public stream::upgrade {
public:
  queue_upgrade(queue_parts p, stream::poll_set& set, asio::any_io_executor executor)
      : p_(std::move(p)), set_(set), executor_(std::move(executor)) {}

  [[nodiscard]] upgrade_offer offer() const override { return p_.offer(); }
  result<void> connect(const upgrade_offer& theirs) override { return p_.connect(theirs); }
  std::unique_ptr<stream::byte_stream> finish(std::unique_ptr<stream::byte_stream> under) override {
    return std::make_unique<queue_stream>(std::move(p_), std::move(under), set_, executor_);
  }

private:
  queue_parts p_;
  stream::poll_set& set_;
  asio::any_io_executor executor_;
};

} // namespace

std::unique_ptr<stream::upgrade> make_queue_upgrade(const std::shared_ptr<device>& device,
                                                    std::shared_ptr<memory_map> known, stream::poll_set& set,
                                                    asio::any_io_executor executor) {
  if (!device) return nullptr;
  auto parts = queue_parts::make(device, std::move(known));
  if (!parts) {
    log::warn("transport", "no RDMA for a connection: " + parts.error().message);
    return nullptr;
  }
  return std::make_unique<queue_upgrade>(std::move(*parts), set, std::move(executor));
}

} // namespace quadrant::transport::rdma
