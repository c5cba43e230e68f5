// Transfers over a bad network: whatever it does to the bytes, each transfer has one outcome, in time, and that is true.
#include <algorithm>
#include <atomic>
#include <set>

#include "test/support/property.hpp"
#include "test/transport/party.hpp"
#include "transport/stream/faulty_stream.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t cells = 60, cell_bytes = 20'000;

/// What a transfer came to, and when.
struct ending {
  std::atomic<int> times{0};
  std::atomic<bool> good{false};
  steady_clock::time_point due, at;
};

/// Takes messages that name a cell, and looks at once whether the bytes of that cell are all there.
class taker {
public:
  taker() : memory_(cells * cell_bytes), wire_(make_endpoint({.cluster_token = "token"}).value()) {
    span_ = wire_->register_memory(memory_);
    self_ = wire_->self();
    self_.inbox = wire_->open_inbox([this](std::span<const std::byte> message) {
      const auto cell = std::stoul(text_of(message));
      const auto bytes = std::span(memory_).subspan(cell * cell_bytes, bytes_of_cell(cell));
      const bool whole = std::ranges::all_of(bytes, [&](std::byte b) { return b == value_of_cell(cell); });
      const std::lock_guard hold(mutex_);
      (whole ? taken_ : torn_).insert(cell);
    });
  }
  ~taker() { wire_.reset(); }

  static std::size_t bytes_of_cell(std::size_t cell) { return cell % 4 == 0 ? cell_bytes : cell * 37 % 400; }
  static std::byte value_of_cell(std::size_t cell) { return std::byte(1 + cell); }
  [[nodiscard]] const address& self() const { return self_; }
  [[nodiscard]] remote_span place(std::size_t cell) const {
    return {span_.key, cell * cell_bytes, bytes_of_cell(cell)};
  }
  std::multiset<std::size_t> taken() {
    const std::lock_guard hold(mutex_);
    return taken_;
  }
  bool any_torn() {
    const std::lock_guard hold(mutex_);
    return !torn_.empty();
  }
  /// Every pin has come home: this returns at once, and the key is dead.
  void forget_memory() {
    wire_->deregister(span_.key);
    RC_ASSERT(wire_->books().regions == 0u);
  }

private:
  std::mutex mutex_;
  std::multiset<std::size_t> taken_, torn_;
  std::vector<std::byte> memory_;
  std::unique_ptr<endpoint> wire_;
  remote_span span_;
  address self_;
};

} // namespace

TEST_CASE("over a bad network each transfer has one outcome, in time and true, and the next network serves again") {
  property(
      "nothing is lost, delivered twice, torn or late, and all memory comes home",
      [] {
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        taker receiver;
        std::vector<ending> endings(cells);
        std::vector<std::vector<std::byte>> sources;
        const auto network = std::make_shared<stream::fault_injector>(
            std::uint32_t(dice()), stream::fault_odds{.bytes = 1 + dice() % 600'000});
        party sender(1024, {.shared_memory = dice() % 2 == 0, .connections = 1 + dice() % 3, .hook = network});
        for (std::size_t cell = 0; cell < cells; ++cell)
          sources.emplace_back(receiver.bytes_of_cell(cell), receiver.value_of_cell(cell));
        for (std::size_t cell = 0; cell < cells; ++cell) {
          const milliseconds timeout(100 + dice() % 500);
          auto& e = endings[cell];
          e.due = steady_clock::now() + timeout;
          sender.wire->submit(receiver.self(),
                              {.slices = {{sources[cell], receiver.place(cell)}},
                               .message = bytes_of(std::to_string(cell)),
                               .kind = traffic(dice() % 3),
                               .timeout = timeout,
                               .checksum = dice() % 2 == 0},
                              [&e](const result<void>& outcome) {
                                e.at = steady_clock::now();
                                e.good = outcome.ok();
                                ++e.times;
                              });
          if (dice() % 10 == 0) std::this_thread::sleep_for(milliseconds(dice() % 20));
        }
        RC_ASSERT(eventually([&] { return std::ranges::all_of(endings, [](const auto& e) { return e.times > 0; }); }));
        for (const auto& e : endings) {
          RC_ASSERT(e.times == 1);
          RC_ASSERT(e.at < e.due + std::chrono::seconds(2)); // deadlines are looked at 20 times a second
        }
        RC_ASSERT(eventually([&] { return sender.wire->books().transfers_in_flight == 0; }));
        network->calm();
        sender.wire->drop_peer(receiver.self().endpoint); // what may still stall
        outcomes done;
        sender.wire->submit(receiver.self(), {.slices = {{sources[0], receiver.place(0)}}, .message = bytes_of("0")},
                            done.next());
        RC_ASSERT(done.of(0).ok());
        const auto taken = receiver.taken();
        RC_ASSERT(!receiver.any_torn());
        for (std::size_t cell = 0; cell < cells; ++cell) {
          const auto times = taken.count(cell) - (cell == 0 ? 1 : 0); // the one that found the network calm
          RC_ASSERT(times <= 1u);
          RC_ASSERT(!endings[cell].good || times == 1u);
          RC_ASSERT(endings[cell].times == 1);
        }
        receiver.forget_memory();
      },
      12);
}

TEST_CASE("where one connection is left, what others lose goes over it, and all is well") {
  property(
      "every transfer succeeds, is delivered once, and all credits come home",
      [] {
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        std::vector<std::byte> memory(8 << 20);
        std::mutex mutex;
        std::multiset<std::string> messages;
        const auto receiver = make_endpoint({.cluster_token = "token"}).value();
        const auto span = receiver->register_memory(memory);
        auto to = receiver->self();
        to.inbox = receiver->open_inbox([&](std::span<const std::byte> message) {
          const std::lock_guard hold(mutex);
          messages.insert(text_of(message));
        });
        const auto network = std::make_shared<stream::fault_injector>(
            std::uint32_t(dice()),
            stream::fault_odds{.breaks = 80, .stalls = 0, .bytes = 1 + dice() % 6'000'000, .spared = 1});
        outcomes done;
        std::vector<std::byte> source(memory.size());
        for (auto& b : source) b = std::byte(dice());
        constexpr std::size_t transfers = 24, place = (8 << 20) / transfers;
        {
          party sender(1024, {.shared_memory = dice() % 2 == 0, .connections = 2 + dice() % 2, .hook = network});
          for (std::size_t i = 0; i < transfers; ++i) {
            const std::size_t bytes = dice() % 3 == 0 ? dice() % 300 : dice() % place, at = i * place;
            sender.wire->submit(to,
                                {.slices = {{std::span(source).subspan(at, bytes), {span.key, at, bytes}}},
                                 .message = bytes_of(std::to_string(i) + " " + std::to_string(bytes)),
                                 .kind = dice() % 4 == 0 ? traffic::dispatch : traffic::kv,
                                 .checksum = dice() % 2 == 0},
                                done.next());
            if (dice() % 4 == 0) std::this_thread::sleep_for(milliseconds(dice() % 8));
          }
          RC_ASSERT(done.all());
          RC_ASSERT(eventually([&] { return sender.wire->books().credits_out == 0; }));
        }
        for (std::size_t i = 0; i < transfers; ++i) RC_ASSERT(done.of(i).ok());
        const std::lock_guard hold(mutex);
        RC_ASSERT(messages.size() == transfers);
        for (const auto& message : messages) {
          const auto i = std::stoul(message), bytes = std::stoul(message.substr(message.find(' ')));
          RC_ASSERT(messages.count(message) == 1u);
          RC_ASSERT(std::equal(source.begin() + std::ptrdiff_t(i * place),
                               source.begin() + std::ptrdiff_t(i * place + bytes),
                               memory.begin() + std::ptrdiff_t(i * place)));
        }
      },
      12);
}
