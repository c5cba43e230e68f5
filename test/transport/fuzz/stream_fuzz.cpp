// What a peer may send over a connection, once it has been let in: any bytes, cut anywhere. A libFuzzer target; `corpus/`
// is run by the tests too, by replay.cpp.
//
//   input   how many bytes a read brings at most (0: all), then the stream; "THE KEY!" stands for the key of 256 bytes of
//           registered memory, because keys are random
// Holds   nothing outside that memory is written, every pin comes home, the connection ends
#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include <boost/asio/error.hpp>

#include "config/check.hpp"
#include "config/log.hpp"
#include "transport/stream/incoming.hpp"

namespace quadrant::transport {
namespace {

constexpr std::size_t memory_bytes = 256, guard_bytes = 64;
constexpr std::byte untouched{0xa5};
constexpr char stand_in[] = "THE KEY!";

/// Plays the dialler: proves itself, then says what it is given.
class scripted final : public stream::byte_stream {
public:
  scripted(std::vector<std::byte> script, std::size_t most, std::uint64_t listener)
      : script_(std::move(script)), most_(most == 0 ? script_.size() : most), listener_(listener) {}

  void read_some(std::span<const boost::asio::mutable_buffer> into, handler done) override {
    into_.assign(into.begin(), into.end());
    read_ = std::move(done);
  }
  void cancel_read() override { cancelled_ = true; }
  void write(std::vector<boost::asio::const_buffer> from, handler done) override {
    if (heard_++ == 0) answer(from.front());
    wrote_ = std::move(done);
    written_ = boost::asio::buffer_size(from);
  }
  void close() override { closed_ = true; }
  [[nodiscard]] bool moves_by_itself() const noexcept override { return true; }
  [[nodiscard]] const char* path() const noexcept override { return "script"; }

  /// Runs one handler; false where there is none to run.
  bool step() {
    if (wrote_) return run(wrote_, {}, written_);
    if (!read_) return false;
    if (closed_ || std::exchange(cancelled_, false)) return run(read_, boost::asio::error::operation_aborted, 0);
    if (greeting_.empty() && script_.empty()) return run(read_, boost::asio::error::eof, 0);
    auto& from = greeting_.empty() ? script_ : greeting_;
    std::size_t n = 0;
    for (const auto& where : into_) {
      const auto some = std::min({where.size(), from.size() - n, (greeting_.empty() ? most_ : from.size()) - n});
      if (some > 0) std::memcpy(where.data(), from.data() + n, some);
      n += some;
    }
    from.erase(from.begin(), from.begin() + std::ptrdiff_t(n));
    return run(read_, {}, n);
  }
  [[nodiscard]] bool closed() const { return closed_; }

private:
  void answer(const boost::asio::const_buffer& asked) {
    meeting about{.dialler = 7, .listener = listener_};
    std::memcpy(about.by_listener.data(), asked.data(), challenge_bytes);
    greeting_ = encode(hello{.dialler = 7,
                             .listener = listener_,
                             .numerics = 0,
                             .asked = about.by_dialler,
                             .answer = prove("fuzz", side::dialler, about)});
  }
  static bool run(handler& which, boost::system::error_code e, std::size_t n) {
    const auto done = std::exchange(which, {});
    done(e, n);
    return true;
  }

  std::vector<std::byte> script_, greeting_;
  std::size_t most_;
  std::uint64_t listener_;
  std::vector<boost::asio::mutable_buffer> into_;
  handler read_, wrote_;
  std::size_t written_ = 0;
  int heard_ = 0;
  bool closed_ = false, cancelled_ = false;
};

void run(std::span<const std::byte> input) {
  constexpr std::uint64_t self = 5;
  if (input.empty()) return;
  std::vector<std::byte> memory(memory_bytes + 2 * guard_bytes, untouched);
  region_table regions;
  const auto span = regions.add(std::span(memory).subspan(guard_bytes, memory_bytes), "memory");
  inbox_table inboxes;
  inboxes.open([](std::span<const std::byte>) {});
  std::vector<std::byte> script(input.begin() + 1, input.end());
  for (auto at = script.begin();;) {
    at = std::search(at, script.end(), reinterpret_cast<const std::byte*>(stand_in),
                     reinterpret_cast<const std::byte*>(stand_in) + 8);
    if (at == script.end()) break;
    std::memcpy(&*at, &span.key, sizeof span.key);
  }

  stream::bulk_count bulk;
  std::vector<std::shared_ptr<stream::incoming>> owing;
  intake arrivals(8);
  const stream::incoming::house home{.regions = regions,
                                     .inboxes = inboxes,
                                     .self = {self, 0, "fuzz", std::chrono::seconds(1), std::chrono::seconds(1)},
                                     .bulk = bulk,
                                     .owing = owing,
                                     .placed = [](std::uint64_t) {},
                                     .carry = [](std::uint64_t, std::span<const std::byte>) { return false; },
                                     .acked = [](std::uint64_t, std::uint64_t, const result<void>&) {},
                                     .intake_of = [&](std::uint64_t) -> intake& { return arrivals; },
                                     .close_lane = [](intake::lane_id) {},
                                     .make_upgrade = {},
                                     .credits = 8};
  auto line = std::make_unique<scripted>(std::move(script), std::size_t(input[0]), self);
  auto& wire = *line;
  const auto in = std::make_shared<stream::incoming>(std::move(line), home, 1);
  in->start();
  while (wire.step())
    for (const auto& one : std::exchange(owing, {})) one->write_acks();
  in->close();
  while (wire.step()) {
  }
  QCHECK(in->dead() && wire.closed());
  regions.remove(span.key, [] {}); // would wait for a pin that did not come home
  const auto is_untouched = [](std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte b) { return b == untouched; });
  };
  QCHECK(is_untouched(std::span(memory).first(guard_bytes)));
  QCHECK(is_untouched(std::span(memory).last(guard_bytes)));
}

} // namespace
} // namespace quadrant::transport

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  quadrant::log::start(quadrant::log::level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quadrant::transport::run(std::as_bytes(std::span(data, size)));
  return 0;
}
