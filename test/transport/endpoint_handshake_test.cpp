// Who is let in, and how long an endpoint waits for those who say nothing.
#include <doctest/doctest.h>

#include "test/transport/party.hpp"
#include "test/transport/raw_peer.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;
using std::chrono::milliseconds;

TEST_CASE("a dialler is told what keeps it out") {
  party server(1024, {.numerics_id = 5});
  const auto verdict_of = [&](std::uint64_t listener, const introduction& me) {
    const auto peer = dial(server.self.port);
    const auto w = introduce(peer, listener, me);
    CHECK(peer.ends());
    return w ? w->outcome : verdict::welcome;
  };
  CHECK((verdict_of(server.self.endpoint, {.token = "guess", .numerics = 5}) == verdict::token));
  CHECK((verdict_of(server.self.endpoint, {.numerics = 6}) == verdict::numerics));
  CHECK((verdict_of(server.self.endpoint ^ 1, {.numerics = 5}) == verdict::endpoint));
}

TEST_CASE("a listener that does not have the token gets nothing") {
  party client;
  const raw_listener impostor;
  outcomes done;
  client.wire->submit(impostor.self(), {.slices = {}, .message = bytes_of("secret")}, done.next());
  const auto peer = impostor.welcome("guess");
  CHECK(peer.receive(1).empty()); // closed, and no frame came
  CHECK(done.of(0).error().code == errc::invalid_argument);
}

TEST_CASE("a peer that connects and says nothing, or stops in the middle of a transfer, is closed") {
  party server(4096, {.handshake_timeout = milliseconds(1000), .stall_timeout = milliseconds(100)});
  const auto silent = dial(server.self.port);
  CHECK(silent.ends());

  const auto hung = dial(server.self.port);
  REQUIRE(introduce(hung, server.self.endpoint));
  const std::vector<std::byte> body(1000);
  auto bytes = frame({.inbox = server.self.inbox, .id = 1}, {{body, server.at(0, body.size())}}, {});
  bytes.resize(bytes.size() - 1);
  hung.send(bytes);
  CHECK(hung.ends());
  CHECK(eventually([&] { return server.wire->books().peers == 0; }));
}

TEST_CASE("an idle peer is not closed") {
  party server(4096, {.handshake_timeout = milliseconds(1000), .stall_timeout = milliseconds(50)});
  const auto silent = dial(server.self.port); // a clock: it is closed when the limits are over
  const auto idle = dial(server.self.port);
  REQUIRE(introduce(idle, server.self.endpoint));
  CHECK(silent.ends());
  idle.send(frame({.inbox = server.self.inbox, .id = 1}, {}, bytes_of("still here")));
  CHECK(receive_ack(idle));
  CHECK(server.take() == "still here");
}

TEST_CASE("a peer that accepts and never speaks is lost when the handshake's time is over") {
  party client(1024, {.handshake_timeout = milliseconds(60)});
  const raw_listener mute;
  outcomes done;
  client.wire->submit(mute.self(), {.slices = {}, .message = {}}, done.next());
  CHECK(done.of(0).error().code == errc::peer_lost);
}
