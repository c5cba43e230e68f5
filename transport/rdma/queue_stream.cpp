#include "transport/rdma/queue_stream.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include "config/log.hpp"

namespace quadrant::transport::rdma {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t ring_bytes = 256 << 10, at_once = 64 << 10; ///< at_once: of one write
constexpr std::uint32_t most_messages = 64;                       ///< of data, not given back
constexpr std::uint32_t many_messages = 16;                       ///< taken out: they are given back
constexpr std::uint32_t gives_back = std::uint32_t{1} << 31;

/// An offer: queue_pair_address[26] | ring address u64 | ring key u32 | ring bytes u32, then zeros. None: all zeros.
struct offered {
  std::array<std::byte, queue_pair_address_bytes> pair{};
  std::uint64_t address = 0;
  std::uint32_t key = 0, bytes = 0;
};
static_assert(queue_pair_address_bytes + 16 <= upgrade_offer_bytes);

upgrade_offer encode_offer(const offered& o) {
  upgrade_offer bytes{};
  auto to = std::ranges::copy(o.pair, bytes.begin()).out;
  const auto put = [&](std::uint64_t value, int n) {
    for (int i = 0; i < n; ++i) *to++ = std::byte(value >> (8 * i));
  };
  put(o.address, 8), put(o.key, 4), put(o.bytes, 4);
  return bytes;
}
offered decode_offer(const upgrade_offer& bytes) {
  offered o;
  std::copy_n(bytes.begin(), o.pair.size(), o.pair.begin());
  const auto* from = bytes.data() + o.pair.size();
  const auto get = [&](int n) {
    std::uint64_t value = 0;
    for (int i = 0; i < n; ++i) value |= std::uint64_t(*from++) << (8 * i);
    return value;
  };
  o.address = get(8), o.key = std::uint32_t(get(4)), o.bytes = std::uint32_t(get(4));
  return o;
}

/// What both ends of a connection are made of.
struct parts {
  std::shared_ptr<device> rdma;
  std::vector<std::byte> ring = std::vector<std::byte>(ring_bytes), staging = std::vector<std::byte>(ring_bytes);
  std::optional<registered_memory> ring_region, staging_region;
  std::unique_ptr<queue_pair> pair;
  offered theirs;
};

class queue_stream final : public stream::byte_stream, public stream::pollable {
public:
  queue_stream(parts p, std::unique_ptr<byte_stream> under, stream::poll_set& set, asio::any_io_executor executor)
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
  void cancel_read() override { cancelled_ = true; }
  void write(std::vector<asio::const_buffer> from, handler done) override {
    from_ = std::move(from);
    part_ = done_of_part_ = written_ = 0;
    write_done_ = std::move(done);
    push();
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    ended_ = true;
    under_->close();
    if (events_.is_open()) events_.release();
    p_.pair.reset(); // the device reads and writes nothing of it any more
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
    if (!ended_) push();
    if (part_ == from_.size())
      tell(write_done_, {}, written_), ++done;
    else if (ended_)
      tell(write_done_, asio::error::broken_pipe, 0), ++done;
    return done;
  }
  bool prepare_to_sleep() override {
    if (!p_.pair) return true;
    if (std::exchange(was_woken_, false)) p_.pair->drain();
    p_.pair->arm();
    take_completions();
    const bool can_read = read_done_ && (cancelled_ || ended_ || taken_ < arrived_);
    const bool can_write = write_done_ && (ended_ || part_ == from_.size() || room() > 0);
    return !can_read && !can_write;
  }

private:
  static void tell(handler& which, error_code e, std::size_t n) {
    const auto done = std::exchange(which, {});
    done(e, n);
  }
  [[nodiscard]] std::size_t room() const {
    return messages_out_ < most_messages ? std::size_t(p_.theirs.bytes - (sent_ - freed_)) : 0;
  }

  void take_completions() {
    for (const auto& c : p_.pair->poll()) {
      if (!c.outcome) {
        ended_ = true;
      } else if (c.received) {
        if (!p_.pair->post_receive(0)) ended_ = true;
        heard(c.value);
      }
    }
  }
  /// Believes nothing that cannot be.
  void heard(std::uint32_t value) {
    if ((value & gives_back) != 0) {
      const auto bytes = value & 0xffffff, messages = value >> 24 & 0x7f;
      if (bytes > sent_ - freed_ || messages > messages_out_)
        ended_ = true;
      else
        freed_ += bytes, messages_out_ -= messages;
    } else {
      arrived_ += value;
      ++messages_in_;
      if (arrived_ - taken_ > ring_bytes) ended_ = true, arrived_ = taken_;
    }
  }

  /// From the ring to where the reader wants it; true where a handler ran.
  bool pull() {
    if (std::exchange(cancelled_, false)) return tell(read_done_, asio::error::operation_aborted, 0), true;
    std::size_t sum = 0;
    for (const auto& where : into_) {
      auto* to = static_cast<std::byte*>(where.data());
      for (auto left = where.size(); left > 0 && taken_ < arrived_;) {
        const auto at = std::size_t(taken_ % ring_bytes);
        const auto n = std::min({left, std::size_t(arrived_ - taken_), ring_bytes - at});
        std::memcpy(to, p_.ring.data() + at, n);
        to += n, left -= n, taken_ += n, sum += n;
      }
    }
    if (sum == 0 && !ended_) return false;
    if (sum == 0) return tell(read_done_, asio::error::eof, 0), true;
    give_back();
    tell(read_done_, {}, sum);
    return true;
  }
  void give_back() {
    const auto bytes = taken_ - given_back_;
    if (ended_ || (bytes < ring_bytes / 4 && messages_in_ < many_messages)) return;
    const auto value = gives_back | messages_in_ << 24 | std::uint32_t(bytes);
    if (!p_.pair->post_write(0, {}, {p_.theirs.address, p_.theirs.key}, value)) return; // with the next bytes taken
    given_back_ = taken_;
    messages_in_ = 0;
  }

  /// As much as the other side has room for.
  void push() {
    while (part_ < from_.size() && !ended_) {
      const auto& from = from_[part_];
      const auto at = std::size_t(sent_ % p_.theirs.bytes);
      const auto n = std::min({from.size() - done_of_part_, room(), std::size_t(p_.theirs.bytes) - at, at_once});
      if (n == 0 && from.size() > 0) return;
      if (n > 0) {
        auto* staged = p_.staging.data() + at;
        std::memcpy(staged, static_cast<const std::byte*>(from.data()) + done_of_part_, n);
        const local_piece piece{{staged, n}, p_.staging_region->lkey()};
        if (!p_.pair->post_write(0, std::span(&piece, 1), {p_.theirs.address + at, p_.theirs.key}, std::uint32_t(n)))
          return;
        sent_ += n, written_ += n, done_of_part_ += n;
        ++messages_out_;
      }
      if (done_of_part_ == from.size()) ++part_, done_of_part_ = 0;
    }
  }

  void watch_under() {
    const asio::mutable_buffer where(&under_byte_, 1);
    under_->read_some(std::span(&where, 1), [this, lives = lives_](error_code, std::size_t) {
      if (*lives) ended_ = true; // nothing is said there any more: it has ended
    });
  }
  void watch_events() {
    events_.async_wait(asio::posix::stream_descriptor::wait_read, [this, lives = lives_](error_code e) {
      if (!*lives || e || closed_) return;
      was_woken_ = true;
      p_.pair->drain();
      watch_events();
    });
  }

  parts p_;
  std::unique_ptr<byte_stream> under_;
  stream::poll_set& set_;
  asio::posix::stream_descriptor events_;
  std::vector<asio::mutable_buffer> into_;
  std::vector<asio::const_buffer> from_;
  std::size_t part_ = 0, done_of_part_ = 0, written_ = 0; ///< of from_
  handler read_done_, write_done_;
  std::uint64_t sent_ = 0, freed_ = 0, arrived_ = 0, taken_ = 0, given_back_ = 0; ///< bytes
  std::uint32_t messages_out_ = 0, messages_in_ = 0;                              ///< not given back
  std::byte under_byte_{};
  std::shared_ptr<bool> lives_ = std::make_shared<bool>(true); ///< for handlers of the events
  bool ended_ = false, closed_ = false, cancelled_ = false, was_woken_ = false;
};

class queue_upgrade final : public stream::upgrade {
public:
  queue_upgrade(parts p, stream::poll_set& set, asio::any_io_executor executor)
      : p_(std::move(p)), set_(set), executor_(std::move(executor)) {}

  [[nodiscard]] upgrade_offer offer() const override {
    return encode_offer({.pair = encode(p_.pair->address()),
                         .address = reinterpret_cast<std::uint64_t>(p_.ring.data()),
                         .key = p_.ring_region->rkey(),
                         .bytes = ring_bytes});
  }
  result<void> connect(const upgrade_offer& theirs) override {
    p_.theirs = decode_offer(theirs);
    if (p_.theirs.bytes != ring_bytes) return {errc::corrupt, "an RDMA ring of another size"};
    QUADRANT_TRY(const auto peer, decode_queue_pair_address(p_.theirs.pair));
    QUADRANT_TRY_VOID(p_.pair->connect(peer));
    for (std::uint32_t i = 0; i < 2 * most_messages + many_messages; ++i)
      if (!p_.pair->post_receive(0)) return {errc::unavailable, "the RDMA device takes no receives"};
    return {};
  }
  std::unique_ptr<stream::byte_stream> finish(std::unique_ptr<stream::byte_stream> under) override {
    return std::make_unique<queue_stream>(std::move(p_), std::move(under), set_, executor_);
  }

private:
  parts p_;
  stream::poll_set& set_;
  asio::any_io_executor executor_;
};

} // namespace

std::unique_ptr<stream::upgrade> make_queue_upgrade(const std::shared_ptr<device>& device, stream::poll_set& set,
                                                    asio::any_io_executor executor) {
  if (!device) return nullptr;
  parts p{.rdma = device, .ring_region = {}, .staging_region = {}, .pair = {}, .theirs = {}};
  auto pair = queue_pair::make(
      device,
      {.writes = 2 * most_messages + many_messages, .receives = 2 * most_messages + many_messages, .pieces = 1});
  auto ring = registered_memory::make(device, p.ring);
  auto staging = registered_memory::make(device, p.staging);
  for (const auto* bad :
       {pair ? nullptr : &pair.error(), ring ? nullptr : &ring.error(), staging ? nullptr : &staging.error()})
    if (bad != nullptr) {
      log::warn("transport", "no RDMA for a connection: " + bad->message);
      return nullptr;
    }
  p.pair = std::move(*pair);
  p.ring_region = std::move(*ring);
  p.staging_region = std::move(*staging);
  return std::make_unique<queue_upgrade>(std::move(p), set, std::move(executor));
}

} // namespace quadrant::transport::rdma
