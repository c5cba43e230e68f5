// What two well-behaved endpoints promise each other, over the loopback path and over real TCP.
#include <atomic>
#include <future>

#include <doctest/doctest.h>

#include "test/transport/party.hpp"
#include "test/transport/raw_peer.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;

namespace {

std::vector<std::byte> pattern(std::size_t n, std::uint32_t seed) {
  std::vector<std::byte> bytes(n);
  for (auto& b : bytes) b = std::byte((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

/// Runs a law on both paths: within one endpoint, and between two.
template <class Law>
void on_both_paths(Law&& law) {
  {
    INFO("in one process");
    party one;
    law(one, one);
  }
  {
    INFO("over TCP");
    party sender, receiver;
    law(sender, receiver);
  }
  {
    INFO("over shared memory");
    party sender(1 << 16, {.shared_memory = true}), receiver(1 << 16, {.shared_memory = true});
    law(sender, receiver);
  }
}

} // namespace

TEST_CASE("bytes lie in place before the message is delivered, and the completion runs once, after it") {
  on_both_paths([](party& from, party& to) {
    const auto a = pattern(1000, 1), b = pattern(5000, 2);
    std::atomic<bool> in_place = false, delivered = false;
    auto where = to.self;
    where.inbox = to.wire->open_inbox([&](std::span<const std::byte> message) {
      in_place = text_of(message) == "both" && std::equal(a.begin(), a.end(), to.memory.begin() + 100) &&
                 std::equal(b.begin(), b.end(), to.memory.begin() + 20'000);
      delivered = true;
    });
    outcomes done;
    from.wire->submit(where,
                      {.slices = {{a, to.at(100, a.size())}, {b, to.at(20'000, b.size())}},
                       .message = bytes_of("both"),
                       .checksum = true},
                      done.next());
    CHECK(done.of(0).ok());
    CHECK(delivered);
    CHECK(in_place);
    CHECK(reaches(from, to)); // a second completion of the first would have run before this one
    CHECK(done.ran() == 1);
    to.wire->close_inbox(where.inbox);
    CHECK(from.wire->books().bytes_sent == a.size() + b.size());
    CHECK(to.wire->books().bytes_received == a.size() + b.size());
    CHECK(from.wire->books().transfers_in_flight == 0);
  });
}

TEST_CASE("thousands of slices of any size, empty ones too, arrive in one transfer") {
  on_both_paths([](party& from, party& to) {
    const auto source = pattern(to.memory.size(), 3);
    std::vector<slice> slices;
    std::size_t at = 0;
    for (std::size_t i = 0; i < max_slices; ++i) {
      const auto n = std::min(i % 37, source.size() - at);
      slices.push_back({std::span(source).subspan(at, n), to.at(at, n)});
      at += n;
    }
    slices.back() = {{}, to.at(0, 0)};
    outcomes done;
    from.wire->submit(to.self, {.slices = slices, .message = bytes_of("all"), .checksum = true}, done.next());
    CHECK(done.of(0).ok());
    CHECK(to.take() == "all");
    CHECK(std::equal(source.begin(), source.begin() + std::ptrdiff_t(at - 36), to.memory.begin()));
  });
}

TEST_CASE("a refused transfer says why and costs nobody else anything") {
  on_both_paths([](party& from, party& to) {
    const auto source = pattern(64, 4);
    const auto size = to.memory.size();
    const auto dead = to.wire->register_memory(to.memory);
    to.wire->deregister(dead.key);
    auto nowhere = to.self;
    nowhere.inbox = 999;
    struct attempt {
      const char* what;
      address where;
      remote_span target;
      errc code;
    };
    const attempt attempts[] = {
        {"a key that never was", to.self, {12345, 0, 64}, errc::invalid_argument},
        {"a key that is no more", to.self, {dead.key, 0, 64}, errc::invalid_argument},
        {"past the end", to.self, to.at(size - 63, 64), errc::invalid_argument},
        {"an offset that wraps around", to.self, to.at(~std::uint64_t{0} - 31, 64), errc::invalid_argument},
        {"no such inbox", nowhere, to.at(0, 64), errc::not_found},
    };
    for (const auto& a : attempts) {
      INFO(a.what);
      outcomes done;
      from.wire->submit(a.where, {.slices = {{source, a.target}}, .message = bytes_of("never")}, done.next());
      from.wire->submit(to.self, {.slices = {{source, to.at(1024, 64)}}, .message = bytes_of("good")}, done.next());
      const auto refused = done.of(0);
      REQUIRE_FALSE(refused.ok());
      CHECK(refused.error().code == a.code);
      CHECK_FALSE(refused.error().message.empty());
      CHECK(done.of(1).ok());
      CHECK(to.take() == "good");
    }
    CHECK(std::all_of(to.memory.begin() + 4096, to.memory.end(), [](std::byte b) { return b == std::byte{0}; }));
    if (&from != &to) CHECK(from.wire->books().peers == 1); // all over one connection
  });
}

TEST_CASE("a transfer past the limits is refused before it is sent") {
  party from, to;
  const auto source = pattern(64, 5);
  const auto refused = [&](transfer what) {
    outcomes done;
    from.wire->submit(to.self, std::move(what), done.next());
    const auto outcome = done.of(0);
    return !outcome && outcome.error().code == errc::invalid_argument;
  };
  CHECK(refused({.slices = {}, .message = std::vector<std::byte>(max_message_bytes + 1)}));
  CHECK(refused({.slices = std::vector<slice>(max_slices + 1, slice{source, to.at(0, 64)}), .message = {}}));
  CHECK(refused({.slices = {{source, to.at(0, 63)}}, .message = {}}));
  CHECK(from.wire->books().peers == 0);
  CHECK(reaches(from, to));
}

TEST_CASE("peers of another token, other numerics or another identity are refused, and the others serve on") {
  party server(1024, {.cluster_token = "token", .numerics_id = 1}),
      friendly(1024, {.cluster_token = "token", .numerics_id = 1});
  party stranger(1024, {.cluster_token = "guess", .numerics_id = 1}),
      other_model(1024, {.cluster_token = "token", .numerics_id = 2});
  CHECK(reaches(friendly, server));
  const auto code_of = [&](party& from, const address& to) {
    outcomes done;
    from.wire->submit(to, {.slices = {}, .message = bytes_of("let me in")}, done.next());
    const auto outcome = done.of(0);
    return outcome ? std::optional<errc>() : std::optional(outcome.error().code);
  };
  CHECK(code_of(stranger, server.self) == errc::invalid_argument);
  CHECK(code_of(other_model, server.self) == errc::invalid_argument);
  auto restarted = server.self;
  restarted.endpoint ^= 1; // an address of the process that had this port before
  CHECK(code_of(friendly, restarted) == errc::peer_lost);
  CHECK(reaches(friendly, server));
  CHECK(server.messages.empty());
  CHECK(eventually([&] { return server.wire->books().peers == 1 && stranger.wire->books().peers == 0; }));
}

TEST_CASE("a handler that throws refuses its message, and the next one is served") {
  on_both_paths([](party& from, party& to) {
    auto where = to.self;
    std::atomic<int> calls = 0;
    where.inbox = to.wire->open_inbox([&](std::span<const std::byte>) {
      if (++calls == 1) throw std::runtime_error("out of cheese");
    });
    outcomes done;
    from.wire->submit(where, {.slices = {}, .message = bytes_of("first")}, done.next());
    const auto refused = done.of(0);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find("out of cheese") != std::string::npos);
    from.wire->submit(where, {.slices = {}, .message = bytes_of("second")}, done.next());
    CHECK(done.of(1).ok());
    to.wire->close_inbox(where.inbox); // would hang, had the first call never been counted out
  });
}

TEST_CASE("a completion that throws harms nobody") {
  on_both_paths([](party& from, party& to) {
    from.wire->submit(to.self, {.slices = {}, .message = bytes_of("one")},
                      [](const result<void>&) { throw std::runtime_error("oops"); });
    from.wire->submit(to.self, {.slices = {}, .message = bytes_of("two")}, {});
    CHECK(to.take() == "one");
    CHECK(to.take() == "two");
    CHECK(reaches(from, to));
  });
}

TEST_CASE("close_inbox waits for the handler that runs, and destroys it") {
  on_both_paths([](party& from, party& to) {
    std::promise<void> entered, go;
    std::atomic<bool> left = false;
    auto where = to.self;
    auto owned = std::make_shared<int>(1);
    std::weak_ptr<int> watch = owned;
    where.inbox = to.wire->open_inbox([&, owned = std::move(owned)](std::span<const std::byte>) {
      entered.set_value();
      go.get_future().wait();
      left = true;
    });
    outcomes done;
    std::thread sending([&] { from.wire->submit(where, {.slices = {}, .message = bytes_of("x")}, done.next()); });
    entered.get_future().wait();
    std::atomic<bool> left_before_return = false, gone = false;
    std::thread closing([&] {
      to.wire->close_inbox(where.inbox);
      left_before_return = left.load();
      gone = watch.expired();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50)); // time for close_inbox to return too early, if it would
    go.set_value();
    closing.join();
    sending.join();
    CHECK(left_before_return);
    CHECK(gone);
    CHECK(done.of(0).ok());
    from.wire->submit(where, {.slices = {}, .message = bytes_of("late")}, done.next());
    CHECK(done.of(1).error().code == errc::not_found);
  });
}

TEST_CASE("handlers and completions may submit, register and deregister") {
  on_both_paths([](party& from, party& to) {
    // A ball goes to and fro; each stop gives it new memory to land in.
    std::atomic<int> hops = 0;
    std::promise<void> over;
    struct stop {
      party* self;
      address here, there;
      std::vector<std::byte> memory = std::vector<std::byte>(8);
      remote_span span{};
    };
    stop a{&from, from.self, {}}, b{&to, to.self, {}};
    outcomes done;
    const auto bounce = [&](stop& at, std::span<const std::byte>) {
      if (at.span.key != 0) at.self->wire->deregister(at.span.key);
      at.span = at.self->wire->register_memory(at.memory);
      if (++hops == 100) return over.set_value();
      at.self->wire->submit(at.there, {.slices = {}, .message = bytes_of("ball")}, done.next());
    };
    a.here.inbox = from.wire->open_inbox([&](std::span<const std::byte> m) { bounce(a, m); });
    b.here.inbox = to.wire->open_inbox([&](std::span<const std::byte> m) { bounce(b, m); });
    a.there = b.here;
    b.there = a.here;
    from.wire->submit(b.here, {.slices = {}, .message = bytes_of("ball")}, done.next());
    over.get_future().wait();
    CHECK(done.all());
    from.wire->close_inbox(a.here.inbox);
    to.wire->close_inbox(b.here.inbox);
    CHECK(done.ran() == 100);
  });
}

TEST_CASE("a cancelled transfer ends, and its memory is free") {
  party client(1024, {.connections = 1});
  const raw_listener slow; // takes its time to let us in
  outcomes done;
  const auto first = client.wire->submit(slow.self(), {.slices = {}, .message = bytes_of("1")}, done.next());
  const auto second = client.wire->submit(slow.self(), {.slices = {}, .message = bytes_of("2")}, done.next());
  client.wire->cancel(first); // not begun
  CHECK(done.of(0).error().code == errc::cancelled);
  const auto peer = slow.welcome();
  const auto head = receive_head(peer);
  REQUIRE(head);
  CHECK(text_of(peer.receive(head->message_bytes)) == "2"); // and the first was never sent
  client.wire->cancel(second);                              // begun, and not answered
  CHECK(done.of(1).error().code == errc::cancelled);
  const auto told = decode_ask(*peer.receive_exactly<ask_bytes>()); // the peer hears of it
  REQUIRE(told.ok());
  CHECK(told->forget);
  CHECK(told->id == head->id);
  client.wire->cancel(second); // again: nothing
  client.wire->cancel(12345);
  CHECK(done.ran() == 2);
  CHECK(client.wire->books().credits_out == 0);
}

TEST_CASE("ordered transfers are delivered in the order in which they were submitted, whatever their size") {
  party sender, receiver(32 << 20);
  std::vector<std::byte> body(24 << 20);
  outcomes done;
  for (int i = 0; i < 40; ++i) {
    transfer what{.slices = {}, .message = bytes_of(std::to_string(i)), .kind = traffic::kv, .ordered = true};
    if (i % 8 == 0) { // over several connections, in pieces
      const auto bytes = std::size_t(1) << (10 + i / 2);
      what.slices = {
          {std::span(body).first(std::min(bytes, body.size())), receiver.at(0, std::min(bytes, body.size()))}};
    }
    sender.wire->submit(receiver.self, std::move(what), done.next());
  }
  CHECK(done.all());
  for (int i = 0; i < 40; ++i) CHECK(receiver.take() == std::to_string(i));
}

TEST_CASE("a listener that cannot be had is one clear error") {
  party taken;
  const auto again = make_endpoint({.port = taken.self.port});
  REQUIRE_FALSE(again.ok());
  CHECK(again.error().code == errc::invalid_argument);
  CHECK(again.error().message.find(std::to_string(taken.self.port)) != std::string::npos);
  CHECK_FALSE(make_endpoint({.host = "not an address"}).ok());
}

TEST_CASE("an endpoint that does not listen can still send") {
  party quiet(1024, {.listen = false}), open;
  CHECK(quiet.self.port == 0);
  CHECK(reaches(quiet, open));
  CHECK(reaches(quiet, quiet));
}
