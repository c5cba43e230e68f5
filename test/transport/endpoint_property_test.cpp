#include <atomic>
#include <random>

#include "test/support/property.hpp"
#include "test/transport/party.hpp"
#include "test/transport/raw_peer.hpp"
#include "transport/checksum.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;

namespace {
constexpr std::size_t cells = 200, cell_bytes = 8192;
} // namespace

TEST_CASE(
    "two hundred transfers at once, of every kind and in both directions, all complete, and the books return to zero") {
  property(
      "each gets the outcome that is its due, once, and its bytes",
      [] {
        party a(cells * cell_bytes), b(cells * cell_bytes);
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        const auto source = [&] {
          std::vector<std::byte> bytes(cell_bytes);
          for (auto& byte : bytes) byte = std::byte(dice());
          return bytes;
        }();
        struct planned {
          std::size_t from, bytes; ///< bytes 0: a message alone
          bool good, backwards, here;
        };
        std::vector<planned> plans;
        for (std::size_t i = 0; i < cells; ++i)
          plans.push_back({dice() % 100, dice() % 4 == 0 ? 0 : dice() % (cell_bytes - 100), dice() % 8 != 0,
                           dice() % 2 == 0, dice() % 5 == 0});
        outcomes done;
        std::vector<completion> told;
        for (std::size_t i = 0; i < cells; ++i) told.push_back(done.next());
        std::vector<std::uint32_t> kinds(cells);
        for (auto& k : kinds) k = std::uint32_t(dice() % 3);

        const auto submit = [&](std::size_t i) {
          const auto& p = plans[i];
          auto& sender = p.backwards ? b : a;
          auto& receiver = p.here ? sender : p.backwards ? a : b;
          transfer what{
              .slices = {}, .message = bytes_of(std::to_string(i)), .kind = traffic(kinds[i]), .checksum = i % 2 == 0};
          const auto key = p.good ? receiver.span.key : receiver.span.key ^ 1;
          const auto half = p.bytes / 2;
          if (p.bytes > 0)
            what.slices = {{std::span(source).subspan(p.from, half), {key, i * cell_bytes, half}},
                           {std::span(source).subspan(p.from + half, p.bytes - half),
                            {key, i * cell_bytes + half, p.bytes - half}}};
          auto to = receiver.self;
          if (!p.good && p.bytes == 0) to.inbox = 77;
          sender.wire->submit(to, std::move(what), told[i]);
        };
        std::vector<std::thread> threads;
        for (std::size_t t = 0; t < 4; ++t)
          threads.emplace_back([&, t] {
            for (std::size_t i = t; i < cells; i += 4) submit(i);
          });
        for (auto& t : threads) t.join();

        RC_ASSERT(done.all());
        RC_ASSERT(done.ran() == cells);
        std::size_t good = 0;
        for (std::size_t i = 0; i < cells; ++i) {
          const auto& p = plans[i];
          const auto outcome = done.of(i);
          RC_ASSERT(outcome.ok() == p.good);
          const auto& receiver = (p.backwards != p.here) ? a : b;
          if (p.good)
            RC_ASSERT(std::equal(source.begin() + std::ptrdiff_t(p.from),
                                 source.begin() + std::ptrdiff_t(p.from + p.bytes),
                                 receiver.memory.begin() + std::ptrdiff_t(i * cell_bytes)));
          else
            RC_ASSERT((outcome.error().code == (p.bytes == 0 ? errc::not_found : errc::invalid_argument)));
          good += p.good;
        }
        RC_ASSERT(a.messages.size() + b.messages.size() == good); // every message once
        for (auto* p : {&a, &b}) {
          RC_ASSERT(p->wire->books().transfers_in_flight == 0u);
          p->wire->deregister(p->span.key); // no pin is left
          RC_ASSERT(p->wire->books().regions == 0u);
        }
      },
      5);
}

TEST_CASE("a valid stream with changed bytes is answered or closed, writes nothing outside what it names, and harms no "
          "other peer") {
  party server(4096, {.stall_timeout = std::chrono::milliseconds(200)}), client;
  std::vector<std::byte> guarded(3 * 1024, std::byte{0xAB}); // only the middle third is registered
  const auto span = server.wire->register_memory(std::span(guarded).subspan(1024, 1024));
  property(
      "under a few changed, lost or added bytes",
      [&] {
        const auto peer = dial(server.self.port);
        RC_ASSERT(introduce(peer, server.self.endpoint).has_value());
        const std::vector<std::byte> body(300, std::byte{0x33});
        std::vector<std::byte> stream;
        const auto frames = *rc::gen::inRange(1, 5);
        for (int i = 0; i < frames; ++i) {
          std::vector<slice> slices(*rc::gen::inRange<std::size_t>(0, 4));
          for (auto& s : slices) s = {body, {span.key, *rc::gen::inRange<std::uint64_t>(0, 724), body.size()}};
          const auto f = frame(
              {.inbox = server.self.inbox, .id = std::uint64_t(i), .checksum = i % 2 == 0, .hash = checksum_of(slices)},
              slices, bytes_of("fuzz"));
          stream.insert(stream.end(), f.begin(), f.end());
        }
        const auto hits = *rc::gen::inRange(1, 5);
        for (int i = 0; i < hits; ++i) {
          const auto at = *rc::gen::inRange<std::size_t>(0, stream.size());
          const auto value = std::byte(*rc::gen::arbitrary<std::uint8_t>());
          switch (*rc::gen::inRange(0, 4)) {
          case 0: stream.erase(stream.begin() + std::ptrdiff_t(at)); break;
          case 1: stream.insert(stream.begin() + std::ptrdiff_t(at), value); break;
          default: stream[at] = value; break;
          }
        }
        peer.send(stream);
        peer.finish_sending();
        RC_ASSERT(peer.ends()); // every frame was answered, or the rest given up
        RC_ASSERT(std::count(guarded.begin(), guarded.begin() + 1024, std::byte{0xAB}) == 1024);
        RC_ASSERT(std::count(guarded.begin() + 2048, guarded.end(), std::byte{0xAB}) == 1024);
        {
          const std::lock_guard hold(server.mutex);
          server.messages.clear();
        }
        RC_ASSERT(reaches(client, server));
      },
      100);
  server.wire->deregister(span.key);
}
