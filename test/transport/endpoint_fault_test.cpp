// What an endpoint does when the other side misbehaves, dies or stays silent.
#include <array>
#include <functional>
#include <random>

#include <doctest/doctest.h>

#include "test/transport/party.hpp"
#include "test/transport/raw_peer.hpp"
#include "transport/checksum.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;
using std::chrono::milliseconds;

namespace {

/// True when everything that was posted to the endpoint's thread before has been done.
bool settled(party& p, party& other) { return reaches(p, other); }

} // namespace

TEST_CASE("a wrong checksum refuses the transfer, and the connection serves on") {
  party server;
  const auto peer = dial(server.self.port);
  REQUIRE((introduce(peer, server.self.endpoint)->outcome == verdict::welcome));
  const auto body = bytes_of("sixteen bytes...");
  const std::vector<slice> slices{{body, server.at(0, body.size())}};
  peer.send(frame({.inbox = server.self.inbox, .id = 1, .checksum = true, .hash = checksum_of(slices) ^ 1}, slices,
                  bytes_of("bad")));
  auto a = receive_ack(peer);
  REQUIRE(a);
  CHECK(a->id == 1);
  CHECK(a->problem == errc::corrupt);
  peer.send(frame({.inbox = server.self.inbox, .id = 2, .checksum = true, .hash = checksum_of(slices)}, slices,
                  bytes_of("good")));
  a = receive_ack(peer);
  REQUIRE(a);
  CHECK(a->id == 2);
  CHECK_FALSE(a->problem);
  CHECK(server.take() == "good"); // and "bad" was never delivered
}

TEST_CASE("the slices of a refused transfer are swallowed, and the frame behind it is understood") {
  party server;
  const auto peer = dial(server.self.port);
  REQUIRE(introduce(peer, server.self.endpoint));
  const std::vector<std::byte> large(200'000, std::byte{0x55});
  const auto body = bytes_of("good");
  peer.send(frame({.inbox = server.self.inbox, .id = 1},
                  {{body, server.at(0, 4)}, {large, {999, 0, large.size()}}, {body, server.at(8, 4)}},
                  bytes_of("bad")));
  peer.send(frame({.inbox = server.self.inbox, .id = 2}, {{body, server.at(16, 4)}}, bytes_of("good")));
  CHECK(receive_ack(peer)->problem == errc::invalid_argument);
  CHECK_FALSE(receive_ack(peer)->problem);
  CHECK(server.take() == "good");
  CHECK(text_of(std::span(server.memory).subspan(16, 4)) == "good");
  CHECK(server.memory[8] == std::byte{0}); // nothing behind the refused slice was written
}

TEST_CASE("garbage costs the connection that it came on, and no other") {
  party server, client;
  CHECK(reaches(client, server));
  std::minstd_rand dice(7);
  const auto noise = [&](std::size_t n) {
    std::vector<std::byte> bytes(n);
    for (auto& b : bytes) b = std::byte(dice());
    return bytes;
  };
  for (int i = 0; i < 20; ++i) {
    const auto stranger = dial(server.self.port);
    stranger.send(noise(4096));
    CHECK(stranger.ends());
    const auto insider = dial(server.self.port);
    REQUIRE(introduce(insider, server.self.endpoint));
    insider.send(noise(4096));
    CHECK(insider.ends());
  }
  CHECK(reaches(client, server));
  CHECK(eventually([&] { return server.wire->books().peers == 1; }));
}

TEST_CASE("a frame past the limits closes the connection before anything is reserved for it") {
  party server;
  const std::vector<slice> huge(3, slice{{}, {server.span.key, 0, max_transfer_bytes / 2}});
  const std::vector<std::vector<std::byte>> frames{encode(transfer_head{.message_bytes = max_message_bytes + 1}, {}),
                                                   encode(transfer_head{.num_slices = max_slices + 1}, {}),
                                                   encode(transfer_head{.num_slices = 3}, huge)};
  for (const auto& bytes : frames) {
    const auto peer = dial(server.self.port);
    REQUIRE(introduce(peer, server.self.endpoint));
    peer.send(bytes);
    CHECK(peer.ends());
  }
}

TEST_CASE(
    "deregister does not wait for a peer that hangs in the middle of a slice, and nothing is written there any more") {
  party server;
  auto memory = std::make_unique<std::vector<std::byte>>(100'000);
  const auto span = server.wire->register_memory(*memory);
  const auto hung = dial(server.self.port);
  REQUIRE(introduce(hung, server.self.endpoint));
  const std::vector<std::byte> body(100'000, std::byte{0x77});
  const auto tail = bytes_of("tail");
  const auto bytes = frame({.inbox = server.self.inbox, .id = 1},
                           {{tail, server.at(0, 4)}, {body, {span.key, 0, body.size()}}}, bytes_of("never"));
  hung.send(std::span(bytes).first(50'000));
  CHECK(eventually([&] { return server.wire->books().bytes_received > 1000; }));
  server.wire->deregister(span.key);
  memory.reset(); // a write would be caught by AddressSanitizer
  hung.send(std::span(bytes).subspan(50'000));
  CHECK(receive_ack(hung)->problem == errc::invalid_argument);
  hung.send(frame({.inbox = server.self.inbox, .id = 2}, {}, bytes_of("fine"))); // the connection lives
  CHECK_FALSE(receive_ack(hung)->problem);
  CHECK(server.take() == "fine");
}

TEST_CASE("a connection that ends in the middle of a slice lets go of the memory") {
  party server;
  const std::vector<std::byte> body(1000);
  const auto bytes = frame({.inbox = server.self.inbox, .id = 1}, {{body, server.at(0, body.size())}}, {});
  {
    const auto dying = dial(server.self.port);
    REQUIRE(introduce(dying, server.self.endpoint));
    dying.send(std::span(bytes).first(bytes.size() - 10));
    CHECK(eventually([&] { return server.wire->books().bytes_received > 900; }));
  }
  CHECK(eventually([&] { return server.wire->books().peers == 0; }));
  server.wire->deregister(server.span.key); // would hang on a pin left behind
  CHECK(server.wire->books().regions == 0);
}

TEST_CASE("a peer that dies takes its own transfers with it and nobody else's, and is forgotten") {
  party client, good;
  const raw_listener mortal;
  const std::vector<std::byte> body(8 << 20);
  outcomes lost;
  for (int i = 0; i < 3; ++i)
    client.wire->submit(mortal.self(), {.slices = {{body, {1, 0, body.size()}}}, .message = {}}, lost.next());
  {
    const auto peer = mortal.welcome();
    REQUIRE(receive_head(peer)); // it dies in the middle of the first
  }
  for (std::size_t i = 0; i < 3; ++i) CHECK(lost.of(i).error().code == errc::peer_lost);
  CHECK(lost.ran() == 3);
  CHECK(reaches(client, good));
  CHECK(client.wire->books().transfers_in_flight == 0);
  CHECK(eventually([&] { return client.wire->books().peers == 1; }));

  const auto nobody = [] { return raw_listener().self(); }(); // its port is closed again
  outcomes refused;
  client.wire->submit(nobody, {.slices = {}, .message = bytes_of("hello?")}, refused.next());
  CHECK(refused.of(0).error().code == errc::peer_lost);
  CHECK(eventually([&] { return client.wire->books().peers == 1; }));
}

TEST_CASE("an endpoint that is destroyed while a peer sends to it ends the peer's transfers") {
  party client;
  outcomes done;
  address gone;
  {
    party server;
    gone = server.self;
    CHECK(reaches(client, server));
  }
  client.wire->submit(gone, {.slices = {}, .message = bytes_of("anyone?")}, done.next());
  CHECK(done.of(0).error().code == errc::peer_lost);
}

TEST_CASE("a deadline ends a transfer in each of its states") {
  party client, good;
  const raw_listener slow;
  const auto code = [](outcomes& done, std::size_t i) { return done.of(i).error().code; };
  outcomes done;
  SUBCASE("waiting for the handshake") {
    client.wire->submit(slow.self(), {.slices = {}, .message = {}, .timeout = milliseconds(60)}, done.next());
    CHECK(code(done, 0) == errc::deadline);
  }
  SUBCASE("waiting for the acknowledgement: the connection serves on, a late answer is ignored") {
    client.wire->submit(slow.self(), {.slices = {}, .message = {}, .timeout = milliseconds(1000)}, done.next());
    const auto peer = slow.welcome();
    const auto head = receive_head(peer);
    REQUIRE(head);
    CHECK(code(done, 0) == errc::deadline);
    client.wire->submit(slow.self(), {.slices = {}, .message = {}}, done.next());
    const auto second = receive_head(peer);
    REQUIRE(second);
    peer.send(encode(ack{.id = head->id}, ""));
    peer.send(encode(ack{.id = second->id}, ""));
    CHECK(done.of(1).ok());
  }
  SUBCASE("being written: the rest goes with it, for the stream is stuck") {
    const std::vector<std::byte> body(64 << 20);
    client.wire->submit(slow.self(),
                        {.slices = {{body, {1, 0, body.size()}}}, .message = {}, .timeout = milliseconds(1000)},
                        done.next());
    client.wire->submit(slow.self(), {.slices = {}, .message = {}}, done.next());
    const auto peer = slow.welcome();
    CHECK(code(done, 0) == errc::deadline);
    CHECK(code(done, 1) == errc::peer_lost);
    CHECK(peer.ends());
  }
  CHECK(reaches(client, good));
  CHECK(client.wire->books().transfers_in_flight == 0);
}

TEST_CASE("drop_peer fails what is in flight; the next submit connects anew") {
  party client;
  const raw_listener listener;
  outcomes done;
  client.wire->submit(listener.self(), {.slices = {}, .message = bytes_of("1")}, done.next());
  const auto first = listener.welcome();
  REQUIRE(receive_head(first));
  client.wire->drop_peer(raw_listener::id);
  CHECK(done.of(0).error().code == errc::peer_lost);
  CHECK(first.ends());
  client.wire->submit(listener.self(), {.slices = {}, .message = bytes_of("2")}, done.next());
  const auto second = listener.welcome();
  const auto head = receive_head(second);
  REQUIRE(head);
  second.send(encode(ack{.id = head->id}, ""));
  CHECK(done.of(1).ok());
}

TEST_CASE("drop_peer ends what the peer was sending too") {
  party server;
  const auto peer = dial(server.self.port);
  REQUIRE(introduce(peer, server.self.endpoint, {.dialler = 99}));
  const auto other = dial(server.self.port);
  REQUIRE(introduce(other, server.self.endpoint, {.dialler = 98}));
  // Both have been let in once they have had an answer.
  for (const auto* p : {&peer, &other}) {
    p->send(frame({.inbox = server.self.inbox, .id = 1}, {}, {}));
    REQUIRE(receive_ack(*p));
  }
  server.wire->drop_peer(99);
  CHECK(peer.ends());
  other.send(frame({.inbox = server.self.inbox, .id = 2}, {}, {}));
  CHECK(receive_ack(other));
}

TEST_CASE("urgent transfers overtake the others in the queue") {
  party client, other;
  const raw_listener listener;
  outcomes done;
  for (const auto& [kind, inbox] :
       {std::pair(traffic::kv, 1u), {traffic::kv, 2u}, {traffic::dispatch, 3u}, {traffic::control, 4u}}) {
    auto to = listener.self();
    to.inbox = inbox;
    client.wire->submit(to, {.slices = {}, .message = {}, .kind = kind}, done.next());
  }
  REQUIRE(settled(client, other)); // all are queued, for nobody has welcomed the connection yet
  const auto peer = listener.welcome();
  std::vector<std::uint32_t> order;
  for (int i = 0; i < 4; ++i) {
    const auto head = receive_head(peer);
    REQUIRE(head);
    order.push_back(head->inbox);
    peer.send(encode(ack{.id = head->id}, ""));
  }
  CHECK(order == std::vector<std::uint32_t>{4, 3, 1, 2});
  CHECK(done.all());
}

TEST_CASE("an acknowledgement before the bytes are out does not free them") {
  party client(1024, {.connections = 1}); // in one piece
  const raw_listener hasty;
  auto body = std::make_unique<std::vector<std::byte>>(32 << 20, std::byte{0x11});
  outcomes done;
  transfer what{.slices = {{*body, {1, 0, body->size()}}}, .message = {}};
  client.wire->submit(hasty.self(), std::move(what), [&body, told = done.next()](result<void> outcome) {
    body.reset(); // a read after this would be caught by AddressSanitizer
    told(std::move(outcome));
  });
  const auto peer = hasty.welcome();
  const auto head = receive_head(peer);
  REQUIRE(head);
  peer.send(encode(ack{.id = head->id}, ""));
  const auto rest = peer.receive(slice_entry_bytes + (32 << 20));
  CHECK(rest.size() == slice_entry_bytes + (32 << 20));
  CHECK(rest.back() == std::byte{0x11});
  CHECK(done.of(0).ok());
}

TEST_CASE("answers that nobody asked for, and malformed ones, cost at most that connection") {
  party client, good;
  const raw_listener listener;
  outcomes done;
  client.wire->submit(listener.self(), {.slices = {}, .message = {}}, done.next());
  const auto peer = listener.welcome();
  const auto head = receive_head(peer);
  REQUIRE(head);
  peer.send(encode(ack{.id = 0}, ""));
  peer.send(encode(ack{.id = head->id + 1000, .code = 1}, "what?"));
  peer.send(encode(ack{.id = head->id}, ""));
  CHECK(done.of(0).ok());
  client.wire->submit(listener.self(), {.slices = {}, .message = {}}, done.next());
  REQUIRE(receive_head(peer));
  peer.send(std::vector<std::byte>(ack_head_bytes, std::byte{0xEE}));
  CHECK(done.of(1).error().code == errc::corrupt);
  CHECK(reaches(client, good));
}

TEST_CASE("destroying an endpoint ends each of its transfers once, whatever its connections do, and though completions "
          "submit again") {
  const raw_listener deaf, stuck, waiting; // dialling; writing; waiting for the ack
  const std::vector<std::byte> body(64 << 20);
  auto client = std::make_unique<party>();
  auto* const wire = client->wire.get();
  outcomes done;
  std::atomic<int> again = 0;
  const auto send = [&](const address& to, transfer what) {
    wire->submit(to, std::move(what), [&, to, told = done.next()](result<void> outcome) {
      told(std::move(outcome));
      ++again;
      wire->submit(to, {.slices = {}, .message = bytes_of("again")}, done.next());
    });
  };
  for (int i = 0; i < 3; ++i) {
    send(deaf.self(), {.slices = {}, .message = bytes_of("x")});
    auto to = stuck.self();
    to.endpoint = raw_listener::id + 1;
    send(to, {.slices = {{body, {1, 0, body.size()}}}, .message = {}});
    to = waiting.self();
    to.endpoint = raw_listener::id + 2;
    send(to, {.slices = {}, .message = bytes_of("y")});
  }
  const auto writing = stuck.welcome();
  const auto idle = waiting.welcome();
  REQUIRE(receive_head(writing));
  REQUIRE(receive_head(idle));
  // And one that is dialled to, in each state: silent, let in, half-way through a slice.
  const auto silent = dial(client->self.port), inside = dial(client->self.port), hung = dial(client->self.port);
  REQUIRE(introduce(inside, client->self.endpoint));
  REQUIRE(introduce(hung, client->self.endpoint));
  auto cut = frame({.inbox = 1, .id = 1}, {{std::span(body).first(1000), client->at(0, 1000)}}, {});
  cut.resize(500);
  hung.send(cut);

  client->wire.reset();
  CHECK(done.all());
  CHECK(again == 9);
  CHECK(done.ran() == 18);
  for (std::size_t i = 0; i < 18; ++i) CHECK(done.of(i).error().code == errc::cancelled);
  CHECK(silent.ends());
  CHECK(inside.ends());
  CHECK(hung.ends());
}
