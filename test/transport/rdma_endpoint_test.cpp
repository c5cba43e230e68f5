// The endpoint over a real RDMA device: soft-RoCE in the guest of scripts/rdma-vm, or hardware.
#include <algorithm>
#include <random>
#include <thread>

#include <doctest/doctest.h>

#include "test/transport/mortal_server.hpp"
#include "transport/rdma/device.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;

namespace {

bool has_device() { return rdma::device::open().ok(); }
const endpoint_options over_rdma{.shared_memory = false};

} // namespace

TEST_CASE("transfers of any size go over RDMA, and what comes is what was sent" * doctest::skip(!has_device())) {
  party sender(8 << 20, over_rdma), receiver(8 << 20, over_rdma);
  std::minstd_rand dice(3);
  for (auto& b : sender.memory) b = std::byte(dice());
  outcomes done;
  std::size_t at = 0, count = 0;
  for (const std::size_t bytes : {0, 1, 200, 4096, 70'000, 300'000, 1 << 20, 3 << 20})
    for (const auto kind : {traffic::dispatch, traffic::kv}) {
      if (at + bytes > sender.memory.size()) break;
      sender.wire->submit(receiver.self,
                          {.slices = {{std::span(sender.memory).subspan(at, bytes), receiver.at(at, bytes)}},
                           .message = bytes_of(std::to_string(bytes)),
                           .kind = kind,
                           .checksum = bytes % 3 == 0},
                          done.next());
      at += bytes;
      ++count;
    }
  CHECK(done.all());
  for (std::size_t i = 0; i < count; ++i) CHECK(done.of(i).ok());
  CHECK(std::equal(sender.memory.begin(), sender.memory.begin() + std::ptrdiff_t(at), receiver.memory.begin()));
  CHECK(eventually([&] { return sender.wire->books().over_rdma > 0 && receiver.wire->books().over_rdma > 0; }));
  CHECK(sender.wire->books().over_rdma == sender.wire->books().peers); // nothing over TCP
  for (std::size_t i = 0; i < count; ++i) CHECK(receiver.take() != "(none)");
  // What is large and lies in registered memory on both sides is not copied; what is not, is.
  CHECK(receiver.wire->books().bytes_placed >= (8 << 20) / 2);
  const auto before = receiver.wire->books().bytes_placed;
  const std::vector<std::byte> elsewhere(300'000, std::byte{7});
  sender.wire->submit(receiver.self, {.slices = {{elsewhere, receiver.at(5, elsewhere.size())}}, .message = {}},
                      done.next());
  CHECK(done.of(count).ok());
  CHECK(std::equal(elsewhere.begin(), elsewhere.end(), receiver.memory.begin() + 5));
  CHECK(receiver.wire->books().bytes_placed == before);
}

TEST_CASE("memory that goes while the device writes it costs the connection, and nothing is written after" *
          doctest::skip(!has_device())) {
  for (int round = 0; round < 6; ++round) {
    party sender(4 << 20, over_rdma), receiver(4 << 20, over_rdma);
    std::ranges::fill(sender.memory, std::byte{1});
    outcomes done;
    for (std::size_t i = 0; i < 4; ++i)
      sender.wire->submit(receiver.self,
                          {.slices = {{sender.memory, receiver.at(0, sender.memory.size())}}, .message = {}},
                          done.next());
    CHECK(eventually([&] { return receiver.wire->books().bytes_received > 0; }));
    receiver.wire->deregister(receiver.span.key);
    std::ranges::fill(receiver.memory, std::byte{0});
    CHECK(done.all());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(std::ranges::count(receiver.memory, std::byte{0}) == std::ptrdiff_t(receiver.memory.size()));
    const std::string_view lives = "still there";
    sender.wire->submit(receiver.self, {.slices = {}, .message = bytes_of(std::string(lives))}, done.next());
    CHECK(done.of(4).ok());
  }
}

TEST_CASE("many slices at once, each to its place" * doctest::skip(!has_device())) {
  constexpr std::size_t each = 17'408, slices = 60;
  party sender(each * slices, over_rdma), receiver(each * slices, over_rdma);
  std::minstd_rand dice(11);
  for (auto& b : sender.memory) b = std::byte(dice());
  outcomes done;
  transfer what{.slices = {}, .message = bytes_of("kv"), .kind = traffic::kv, .checksum = true};
  std::vector<std::byte> expected(each * slices);
  for (std::size_t i = 0; i < slices; ++i) {
    const auto to = (i * 7 + 3) % slices;
    const auto from = std::span(sender.memory).subspan(i * each, each);
    what.slices.push_back({from, receiver.at(to * each, each)});
    std::ranges::copy(from, expected.begin() + std::ptrdiff_t(to * each));
  }
  sender.wire->submit(receiver.self, std::move(what), done.next());
  CHECK(done.of(0).ok());
  CHECK(receiver.memory == expected);
  CHECK(receiver.wire->books().bytes_placed == each * slices);
}

TEST_CASE("both directions at once, many small ones" * doctest::skip(!has_device())) {
  party a(1 << 16, over_rdma), b(1 << 16, over_rdma);
  outcomes done;
  for (int i = 0; i < 2000; ++i) {
    a.wire->submit(b.self, {.slices = {{std::span(a.memory).first(300), b.at(0, 300)}}, .message = bytes_of("x")},
                   done.next());
    b.wire->submit(a.self, {.slices = {}, .message = bytes_of(std::string(std::size_t(i), 'y'))}, done.next());
  }
  CHECK(done.all());
  for (std::size_t i = 0; i < 4000; ++i) CHECK(done.of(i).ok());
}

TEST_CASE("a wrong key, bounds and a wrong checksum are refused over RDMA as over TCP" * doctest::skip(!has_device())) {
  party sender(1000, over_rdma), receiver(1000, over_rdma);
  outcomes done;
  const auto send = [&](const remote_span& to) {
    sender.wire->submit(receiver.self, {.slices = {{std::span(sender.memory).first(to.bytes), to}}, .message = {}},
                        done.next());
  };
  send({1, 0, 10}), send(receiver.at(995, 10)), send(receiver.at(0, 10));
  CHECK(done.of(0).error().code == errc::invalid_argument);
  CHECK(done.of(1).error().code == errc::invalid_argument);
  CHECK(done.of(2).ok());
}

TEST_CASE("a side without a device is reached over TCP" * doctest::skip(!has_device())) {
  party with(1000, over_rdma), without(1000, {.rdma = false, .shared_memory = false});
  CHECK(reaches(with, without));
  CHECK(reaches(without, with));
  CHECK(with.wire->books().over_rdma == 0);
}

TEST_CASE("a process that dies is noticed over RDMA" * doctest::skip(!has_device())) {
  mortal_server server(4 << 20, over_rdma);
  party client(4 << 20, over_rdma);
  CHECK(death_is_noticed(server, client));
}

TEST_CASE("a machine without an RDMA device says so, and its endpoint serves" * doctest::skip(has_device())) {
  CHECK(rdma::device::open().error().code == errc::unavailable);
  party a(1000, over_rdma), b(1000, over_rdma);
  CHECK(reaches(a, b));
  CHECK(a.wire->books().over_rdma == 0);
}
