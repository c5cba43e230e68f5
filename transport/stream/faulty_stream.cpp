#include "transport/stream/faulty_stream.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace quadrant::transport::stream {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::microseconds;

/// What will happen to one connection.
struct fate {
  std::size_t breaks_at = SIZE_MAX, stalls_at = SIZE_MAX, most_read = SIZE_MAX;
  microseconds slowness{0};
};

/// Handlers come through here, so that they may come later, or not at all; shared with what is under way.
struct day {
  day(std::unique_ptr<byte_stream> s, asio::io_context& context, fate f, std::uint32_t seed)
      : inner(std::move(s)), io(context), will(f), dice(seed) {}
  std::unique_ptr<byte_stream> inner;
  asio::io_context& io;
  fate will;
  std::minstd_rand dice;
  std::size_t moved = 0;
  bool closed = false;
  std::vector<byte_stream::handler> stalled; ///< they hear of the end
};

/// Tells `done` in a while, and breaks or stalls where that is due.
void tell(const std::shared_ptr<day>& d, byte_stream::handler done, error_code e, std::size_t n) {
  d->moved += n;
  if (!e && d->moved >= d->will.stalls_at) return d->stalled.push_back(std::move(done));
  if (!e && d->moved >= d->will.breaks_at) {
    d->inner->close();
    e = asio::error::connection_reset, n = 0;
  }
  const auto wait = d->will.slowness.count() == 0 ? 0 : d->dice() % std::uint32_t(d->will.slowness.count() + 1);
  const auto timer = std::make_shared<asio::steady_timer>(d->io, microseconds(wait));
  timer->async_wait([d, timer, done = std::move(done), e, n](error_code) {
    d->closed ? done(asio::error::operation_aborted, 0) : done(e, n);
  });
}

class faulty_stream final : public byte_stream {
public:
  explicit faulty_stream(std::shared_ptr<day> d) : day_(std::move(d)) {}
  ~faulty_stream() override { day_->closed = true; }

  void read_some(std::span<const asio::mutable_buffer> into, handler done) override {
    auto left = std::min(day_->will.most_read, left_to_break());
    std::vector<asio::mutable_buffer> some;
    for (const auto& where : into) {
      some.push_back(asio::buffer(where, left));
      left -= some.back().size();
    }
    day_->inner->read_some(some, [d = day_, done = std::move(done)](error_code e, std::size_t n) mutable {
      tell(d, std::move(done), e, n);
    });
  }
  void cancel_read() override { day_->inner->cancel_read(); }
  /// Up to where it breaks.
  void write(std::vector<asio::const_buffer> from, handler done) override {
    auto left = left_to_break();
    for (auto& part : from) {
      part = asio::buffer(part, left);
      left -= part.size();
    }
    day_->inner->write(std::move(from), [d = day_, done = std::move(done)](error_code e, std::size_t n) mutable {
      tell(d, std::move(done), e, n);
    });
  }
  void close() override {
    day_->closed = true;
    day_->inner->close();
    for (auto& done : std::exchange(day_->stalled, {}))
      asio::post(day_->io, [done = std::move(done)] { done(asio::error::operation_aborted, 0); });
  }
  [[nodiscard]] bool moves_by_itself() const noexcept override { return day_->inner->moves_by_itself(); }
  [[nodiscard]] const char* path() const noexcept override { return day_->inner->path(); }

private:
  /// At least one byte, with which it then breaks.
  [[nodiscard]] std::size_t left_to_break() const {
    return day_->will.breaks_at == SIZE_MAX
               ? SIZE_MAX
               : std::max<std::size_t>(1, day_->will.breaks_at - std::min(day_->moved, day_->will.breaks_at));
  }
  std::shared_ptr<day> day_;
};

} // namespace

std::unique_ptr<byte_stream> fault_injector::wrap(std::unique_ptr<byte_stream> made, asio::io_context& io) {
  const std::lock_guard hold(mutex_);
  if (connections_++ < odds_.spared) return made;
  const auto happens = [this](unsigned percent) { return dice_() % 100 < percent; };
  fate f;
  if (happens(odds_.breaks)) f.breaks_at = dice_() % odds_.bytes;
  if (happens(odds_.stalls)) f.stalls_at = dice_() % odds_.bytes;
  if (happens(odds_.is_slow)) f.slowness = odds_.slowest;
  if (happens(odds_.is_cut_small)) f.most_read = 1 + dice_() % 3000;
  return std::make_unique<faulty_stream>(std::make_shared<day>(std::move(made), io, f, std::uint32_t(dice_())));
}

void fault_injector::calm() {
  const std::lock_guard hold(mutex_);
  odds_.spared = UINT32_MAX;
}

} // namespace quadrant::transport::stream
