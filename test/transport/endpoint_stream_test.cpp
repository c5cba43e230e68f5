// A stream of bytes has no seams: frames and acknowledgements mean the same however they are cut and glued.
#include <random>

#include "test/support/property.hpp"
#include "test/transport/party.hpp"
#include "test/transport/raw_peer.hpp"
#include "transport/checksum.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;

namespace {

/// Sends bytes in pieces of random size, many of them tiny.
void send_cut(const raw_socket& peer, std::span<const std::byte> bytes, std::minstd_rand& dice) {
  while (!bytes.empty()) {
    const auto n = std::min<std::size_t>(bytes.size(), dice() % 3 == 0 ? 1 + dice() % 20'000 : 1 + dice() % 60);
    if (!peer.send(bytes.first(n))) return;
    bytes = bytes.subspan(n);
  }
}

} // namespace

TEST_CASE("transfers mean the same however their bytes are cut") {
  property(
      "each is answered in order with what is its due, and its bytes lie where they belong",
      [] {
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        constexpr std::size_t room = 1 << 19, transfers = 40;
        party server(room);
        const auto peer = dial(server.self.port);
        RC_ASSERT((introduce(peer, server.self.endpoint)->outcome == verdict::welcome));
        std::vector<std::byte> expected(room), stream;
        std::vector<std::optional<errc>> due;
        std::vector<std::string> delivered;
        std::size_t at = 0;
        for (std::uint64_t id = 1; id <= transfers; ++id) {
          // Many small ones in a row, and now and then one that fills no stage.
          const std::size_t bytes = dice() % 4 == 0 ? dice() % 30'000 : dice() % 40;
          if (at + bytes > room) break;
          std::vector<std::byte> body(bytes);
          for (auto& b : body) b = std::byte(dice());
          const auto half = bytes == 0 ? 0 : dice() % bytes;
          const bool known = dice() % 5 != 0, sound = dice() % 5 != 0;
          const std::vector<slice> slices{
              {std::span(body).first(half), server.at(at, half)},
              {std::span(body).subspan(half), {known ? server.span.key : 1, at + half, bytes - half}}};
          const auto message = std::string(dice() % 3 == 0 ? dice() % 9000 : dice() % 30, char('a' + id % 26));
          const auto one = frame({.inbox = server.self.inbox,
                                  .id = id,
                                  .checksum = true,
                                  .hash = checksum_of(slices) ^ std::uint64_t(!sound)},
                                 slices, bytes_of(message));
          stream.insert(stream.end(), one.begin(), one.end());
          due.push_back(!known   ? std::optional(errc::invalid_argument)
                        : !sound ? std::optional(errc::corrupt)
                                 : std::nullopt);
          if (!due.back()) delivered.push_back(message);
          if (known) std::ranges::copy(body, expected.begin() + std::ptrdiff_t(at));
          at += bytes;
        }
        send_cut(peer, stream, dice);
        for (std::size_t i = 0; i < due.size(); ++i) {
          const auto a = receive_ack(peer);
          RC_ASSERT(a.has_value());
          RC_ASSERT(a->id == i + 1);
          RC_ASSERT(a->problem == due[i]);
        }
        for (const auto& message : delivered) RC_ASSERT(server.take() == message);
        RC_ASSERT(server.memory == expected);
        RC_ASSERT(server.wire->books().bytes_received <= at);
      },
      20);
}

TEST_CASE("acknowledgements mean the same however their bytes are cut, early ones too") {
  property(
      "each transfer gets its own outcome, once",
      [] {
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        raw_listener listener;
        party sender(1 << 20);
        outcomes done;
        constexpr std::size_t transfers = 60;
        std::size_t expected = 0;
        for (std::size_t i = 0; i < transfers; ++i) {
          const std::size_t bytes = dice() % 6 == 0 ? dice() % 100'000 : dice() % 200;
          sender.wire->submit(listener.self(),
                              {.slices = {{std::span(sender.memory).first(bytes), {5, 0, bytes}}},
                               .message = bytes_of(std::to_string(i)),
                               .kind = traffic(dice() % 3)},
                              done.next());
          expected += bytes;
        }
        const auto peer = listener.welcome();
        std::vector<std::byte> acks;
        std::map<std::size_t, bool> good; // by the number in the message
        std::size_t got = 0;
        for (std::size_t i = 0; i < transfers; ++i) {
          const auto head = receive_head(peer);
          RC_ASSERT(head.has_value());
          RC_ASSERT(head->num_slices == 1u);
          const auto table = decode_slices(peer.receive(slice_entry_bytes));
          RC_ASSERT(table.ok());
          const auto number = std::stoul(text_of(peer.receive(head->message_bytes)));
          RC_ASSERT(!good.contains(number));
          good[number] = dice() % 4 != 0;
          const std::string text = good[number] ? "" : "no: " + std::string(dice() % 300, 'x');
          const auto a =
              encode(ack{.id = head->id, .code = good[number] ? 0 : std::uint32_t(errc::not_found) + 1}, text);
          acks.insert(acks.end(), a.begin(), a.end());
          if (dice() % 3 == 0) send_cut(peer, std::exchange(acks, {}), dice); // some before the bytes have left
          got += peer.receive((*table)[0].bytes).size();
        }
        send_cut(peer, acks, dice);
        RC_ASSERT(done.all());
        RC_ASSERT(got == expected);
        for (const auto& [number, is_good] : good) RC_ASSERT(done.of(number).ok() == is_good);
        RC_ASSERT(done.ran() == transfers);
        RC_ASSERT(sender.wire->books().bytes_sent == expected);
      },
      20);
}

TEST_CASE("between two that send to each other, answers go with the transfers of the other direction") {
  party server;
  const raw_listener listener;
  outcomes done;
  server.wire->submit(listener.self(), {.slices = {}, .message = bytes_of("to you")}, done.next());
  auto theirs = listener.welcome(); // what the server sends
  const auto first = receive_head(theirs);
  REQUIRE(first);
  CHECK(text_of(theirs.receive(first->message_bytes)) == "to you");
  const auto ours = dial(server.self.port); // what we send, as the same peer
  REQUIRE((introduce(ours, server.self.endpoint, {.dialler = raw_listener::id})->outcome == verdict::welcome));

  // Our transfer is answered on the server's stream, and the server's on ours: before a transfer, and alone.
  auto bytes = encode(ack{.id = first->id, .code = std::uint32_t(errc::not_found) + 1}, "nobody here");
  const auto one = frame({.inbox = server.self.inbox, .id = 51}, {}, bytes_of("to the server"));
  bytes.insert(bytes.end(), one.begin(), one.end());
  std::minstd_rand dice(3);
  send_cut(ours, bytes, dice);
  CHECK(server.take() == "to the server");
  auto a = receive_ack(theirs);
  REQUIRE(a);
  CHECK(a->id == 51);
  CHECK_FALSE(a->problem);
  const auto refused = done.of(0);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == errc::not_found);
  CHECK(refused.error().message == "nobody here");

  // Nonsense is nobody's answer, and malformed answers cost the connection.
  ours.send(encode(ack{.id = 12345}, ""));
  ours.send(frame({.inbox = 99, .id = 52}, {}, {}));
  a = receive_ack(theirs);
  REQUIRE(a);
  CHECK(a->id == 52);
  CHECK(a->problem == errc::not_found);

  // Answers may be lost with the server's stream: whoever waits asks, and is told again what it was told.
  theirs.close();
  server.wire->submit(listener.self(), {.slices = {}, .message = {}}, done.next());
  CHECK_FALSE(done.of(1).ok());
  for (const std::uint64_t id : {51, 52, 53}) ours.send(encode(ask{.id = id})); // 53 never came
  a = receive_ack(ours);
  REQUIRE(a);
  CHECK(a->id == 51);
  CHECK_FALSE(a->problem);
  a = receive_ack(ours);
  REQUIRE(a);
  CHECK(a->id == 52);
  CHECK(a->problem == errc::not_found);
  // The same transfer again is not delivered again, but answered.
  ours.send(frame({.inbox = server.self.inbox, .id = 51}, {}, bytes_of("to the server")));
  a = receive_ack(ours);
  REQUIRE(a);
  CHECK(a->id == 51);
  CHECK_FALSE(a->problem);
  ours.send(frame({.inbox = server.self.inbox, .id = 53}, {}, bytes_of("the next")));
  REQUIRE(receive_ack(ours));
  CHECK(server.take() == "the next");
}
