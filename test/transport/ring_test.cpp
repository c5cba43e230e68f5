// Rings in shared memory: what goes in comes out, and a peer that lies, sends something else or dies costs a connection.
#include <cstring>
#include <random>
#include <thread>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "test/support/property.hpp"
#include "test/transport/mortal_server.hpp"
#include "test/transport/raw_peer.hpp"
#include "transport/shm/descriptor_message.hpp"
#include "transport/shm/ring.hpp"
#include "transport/shm/ring_stream.hpp"

using namespace quadrant;
using namespace quadrant::test;
using namespace quadrant::transport;

namespace {

/// A ring in this process.
struct ring {
  explicit ring(std::size_t bytes) : memory(bytes), writer(head, memory), reader(head, memory) {}
  shm::ring_head head{};
  std::vector<std::byte> memory;
  shm::ring_writer writer;
  shm::ring_reader reader;
};

/// Near, by the name of an endpoint.
raw_socket dial_near(std::uint64_t endpoint) {
  const auto at = shm::place_of(endpoint);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  QCHECK_EQ(::connect(fd, at.data(), socklen_t(at.size())), 0);
  return raw_socket(fd);
}

void send_memory(const raw_socket& s, int memory) { QCHECK(shm::descriptor_message().send(s.fd(), memory)); }

} // namespace

TEST_CASE("a ring gives what it was given") {
  property(
      "in order, in pieces of any size, and never more than it holds",
      [] {
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        ring r(1 + dice() % 300);
        std::vector<std::byte> sent, got;
        for (int i = 0; i < 500; ++i) {
          std::vector<std::byte> some(dice() % 400);
          if (dice() % 2 == 0) {
            for (auto& b : some) b = std::byte(dice());
            const auto n = r.writer.write(some);
            RC_ASSERT(n.has_value());
            sent.insert(sent.end(), some.begin(), some.begin() + std::ptrdiff_t(*n));
            RC_ASSERT(*n == some.size() || !r.writer.has_room());
          } else {
            const auto n = r.reader.read(some);
            RC_ASSERT(n.has_value());
            got.insert(got.end(), some.begin(), some.begin() + std::ptrdiff_t(*n));
            RC_ASSERT(*n == some.size() || !r.reader.has_bytes());
          }
          RC_ASSERT(sent.size() - got.size() <= r.memory.size());
        }
        RC_ASSERT(std::equal(got.begin(), got.end(), sent.begin()));
      },
      100);
}

TEST_CASE("one thread writes a ring and another reads it") {
  ring r(1000);
  constexpr std::uint32_t count = 200'000;
  std::thread writing([&] {
    std::vector<std::byte> all(std::size_t(count) * 4);
    for (std::uint32_t i = 0; i < count; ++i) std::memcpy(all.data() + std::size_t(i) * 4, &i, 4);
    for (std::span<const std::byte> rest = all; !rest.empty();) rest = rest.subspan(*r.writer.write(rest));
  });
  std::uint32_t next = 0, wrong = 0;
  std::vector<std::byte> some(404);
  for (std::size_t have = 0; next < count;) {
    have += *r.reader.read(std::span(some).subspan(have));
    std::size_t at = 0;
    for (; at + 4 <= have; at += 4) {
      std::uint32_t value = 0;
      std::memcpy(&value, some.data() + at, 4);
      if (value != next++) ++wrong;
    }
    std::memmove(some.data(), some.data() + at, have - at);
    have -= at;
  }
  writing.join();
  CHECK(wrong == 0);
}

TEST_CASE("counters that the other side made up break the ring and nothing else") {
  std::vector<std::byte> some(50);
  for (const std::uint64_t lie : {std::uint64_t{101}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    ring r(100);
    r.head.written = lie;
    CHECK_FALSE(r.reader.read(some).has_value());
    r.head.read = lie;
    CHECK_FALSE(r.writer.write(some).has_value());
  }
  ring r(100); // and going back
  CHECK(r.writer.write(some) == 50u);
  CHECK(r.reader.read(some) == 50u);
  r.head.written = 20, r.head.read = 51;
  CHECK_FALSE(r.reader.read(some).has_value());
  CHECK_FALSE(r.writer.write(some).has_value());
}

TEST_CASE("what comes near and is no memory of a connection costs its own connection") {
  party server(1024, {.shared_memory = true}), client(1024, {.shared_memory = true});
  const auto closed = [&](const raw_socket& s) { CHECK(s.ends()); };
  { // a byte and no memory
    const auto s = dial_near(server.self.endpoint);
    s.send(bytes_of("hello"));
    closed(s);
  }
  const auto made = [](off_t bytes, bool sealed) {
    const int fd = ::memfd_create("test", MFD_ALLOW_SEALING);
    QCHECK_EQ(::ftruncate(fd, bytes), 0);
    if (sealed) QCHECK_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
  };
  for (const int fd : {made(4096, true), made(shm::connection_bytes, false), ::open("/dev/null", O_RDONLY)}) {
    const auto s = dial_near(server.self.endpoint);
    send_memory(s, fd);
    closed(s);
    ::close(fd);
  }
  { // sound memory, with nonsense in it
    const int fd = made(shm::connection_bytes, true);
    void* const at = ::mmap(nullptr, shm::connection_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    std::memset(at, 0x5a, shm::connection_bytes);
    const auto s = dial_near(server.self.endpoint);
    send_memory(s, fd);
    closed(s);
    ::munmap(at, shm::connection_bytes);
    ::close(fd);
  }
  CHECK(reaches(client, server));
  const auto silent = dial_near(server.self.endpoint); // and does not keep the endpoint from closing
}

TEST_CASE("who connects near and sends no memory is closed in time") {
  party server(1024, {.handshake_timeout = std::chrono::milliseconds(50), .shared_memory = true});
  const auto silent = dial_near(server.self.endpoint);
  CHECK(silent.ends());
}

TEST_CASE("a process that dies is noticed over shared memory, in the middle of whatever it did") {
  mortal_server server(16 << 20, {.shared_memory = true});
  party client(16 << 20, {.shared_memory = true});
  CHECK(death_is_noticed(server, client));
}
