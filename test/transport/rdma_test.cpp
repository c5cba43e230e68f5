// Queue pairs between two processes, over a real RDMA device: soft-RoCE in the guest of scripts/rdma-vm, or hardware.
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/hash.hpp"
#include "transport/rdma/queue_pair.hpp"

using namespace quadrant;
using namespace quadrant::transport::rdma;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr seconds patience{60};

/// Words between the two processes, beside RDMA.
class wire {
public:
  explicit wire(int fd) : fd_(fd) {
    const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;
  ~wire() { ::close(fd_); }
  template <class T>
  bool say(const T& value) const {
    return ::send(fd_, &value, sizeof value, MSG_NOSIGNAL) == ssize_t(sizeof value);
  }
  template <class T>
  bool hear(T& value) const {
    return ::recv(fd_, &value, sizeof value, MSG_WAITALL) == ssize_t(sizeof value);
  }

private:
  int fd_;
};

/// Another process. It says nothing to doctest: its exit status tells how it went.
class other_process {
public:
  explicit other_process(const std::function<int(const wire&)>& life) {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(ends[0]);
      const wire to_parent(ends[1]);
      _exit(life(to_parent));
    }
    ::close(ends[1]);
    words_ = std::make_unique<wire>(ends[0]);
  }
  ~other_process() {
    if (pid_ > 0) kill();
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  /// Its exit status.
  int join() {
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] const wire& words() const { return *words_; }

private:
  pid_t pid_ = -1;
  std::unique_ptr<wire> words_;
};

/// One side: a queue pair that is connected, and registered memory that the other side may write.
struct party {
  std::shared_ptr<device> rdma;
  std::vector<std::byte> memory;
  std::optional<registered_memory> region;
  std::unique_ptr<queue_pair> pair;
  remote_place theirs; ///< the other side's memory

  party(const wire& other, std::size_t bytes, const queue_pair::limits& most = {})
      : rdma(device::open().value()), memory(bytes), region(registered_memory::make(rdma, memory).value()),
        pair(queue_pair::make(rdma, most).value()) {
    const auto mine = encode(pair->address());
    auto peer = mine;
    other.say(mine);
    other.say(remote_place{reinterpret_cast<std::uint64_t>(memory.data()), region->rkey()});
    QCHECK(other.hear(peer) && other.hear(theirs));
    QCHECK(pair->connect(decode_queue_pair_address(peer).value()).ok());
  }

  [[nodiscard]] local_piece piece(std::size_t from, std::size_t bytes) const {
    return {std::span(memory).subspan(from, bytes), region->lkey()};
  }
  /// What has ended, after waiting for something to: on the channel, as a server does.
  std::vector<completed> wait() const {
    const auto end = steady_clock::now() + patience;
    auto list = pair->poll();
    while (list.empty() && steady_clock::now() < end) {
      pair->arm();
      if (list = pair->poll(); !list.empty()) break;
      pollfd p{.fd = pair->fd(), .events = POLLIN, .revents = 0};
      ::poll(&p, 1, 1000);
      pair->drain();
      list = pair->poll();
    }
    return list;
  }
  /// Waits until `n` posted works have ended: each once.
  std::map<std::uint64_t, result<void>> outcomes(std::size_t n) const {
    std::map<std::uint64_t, result<void>> all;
    while (all.size() < n) {
      const auto some = wait();
      if (some.empty()) break;
      for (const auto& c : some) QCHECK(all.emplace(c.id, c.outcome).second);
    }
    return all;
  }
};

bool has_device() { return device::open().ok(); }

} // namespace

TEST_CASE("without a device there is one clear line" * doctest::skip(has_device())) {
  const auto none = device::open();
  REQUIRE_FALSE(none.ok());
  CHECK(none.error().code == errc::unavailable);
  CHECK(none.error().message == "this machine has no RDMA device");
  CHECK(device::open("mlx5_0").error().code == errc::unavailable);
}

TEST_CASE("the address of a queue pair reads back, and what is none is refused") {
  queue_pair_address a{.number = 0x123456, .first_packet = 0xabcdef, .lid = 0x1234, .port = {}};
  a.port[15] = std::byte{7};
  auto bytes = encode(a);
  const auto again = decode_queue_pair_address(bytes);
  REQUIRE(again.ok());
  CHECK(again->number == a.number);
  CHECK(again->first_packet == a.first_packet);
  CHECK(again->lid == a.lid);
  CHECK(again->port == a.port);
  bytes[3] = std::byte{1};
  CHECK(decode_queue_pair_address(bytes).error().code == errc::corrupt);
}

TEST_CASE("the device of a machine that has one can be named; another cannot" * doctest::skip(!has_device())) {
  const auto any = device::open();
  CHECK(device::open((*any)->name()).ok());
  CHECK(device::open("none of this name").error().message == "this machine has no RDMA device none of this name");
}

TEST_CASE("a value is received when the bytes of its write lie in place" * doctest::skip(!has_device())) {
  constexpr std::size_t room = 1 << 21;
  constexpr std::uint32_t writes = 60;
  struct told {
    std::uint64_t offset, bytes, hash;
  };
  other_process writer([](const wire& parent) {
    const party me(parent, room);
    std::minstd_rand dice(7);
    for (auto& b : const_cast<std::vector<std::byte>&>(me.memory)) b = std::byte(dice());
    char go = 0;
    for (std::uint32_t i = 0; i < writes; ++i) {
      const std::size_t bytes = i % 5 == 0 ? dice() % (room / 2) : dice() % 3000, from = dice() % (room - bytes);
      const auto third = bytes / 3;
      const std::array<local_piece, 3> pieces{me.piece(from, third), me.piece(from + third, 0),
                                              me.piece(from + third, bytes - third)};
      const std::uint64_t offset = dice() % (room - bytes);
      if (!parent.say(told{offset, bytes, xxh3(std::span(me.memory).subspan(from, bytes), 0)})) return 1;
      if (!me.pair->post_write(i, pieces, {me.theirs.address + offset, me.theirs.rkey}, 1000 + i)) return 2;
      const auto all = me.outcomes(1);
      if (!all.contains(i) || !all.at(i).ok()) return 3;
      if (!parent.hear(go)) return 4;
    }
    return 0;
  });
  const party me(writer.words(), room);
  for (std::uint64_t i = 0; i < 8; ++i) REQUIRE(me.pair->post_receive(i));
  for (std::uint32_t i = 0; i < writes; ++i) {
    told t{};
    REQUIRE(writer.words().hear(t));
    const auto got = me.wait();
    REQUIRE(got.size() == 1);
    CHECK(got[0].outcome.ok());
    CHECK(got[0].received);
    CHECK(got[0].id == i % 8); // receives are used in the order they were posted
    CHECK(got[0].value == 1000 + i);
    CHECK(got[0].bytes == t.bytes);
    CHECK(xxh3(std::span(me.memory).subspan(t.offset, t.bytes), 0) == t.hash);
    REQUIRE(me.pair->post_receive(i % 8));
    REQUIRE(writer.words().say('g'));
  }
  CHECK(writer.join() == 0);
}

TEST_CASE("no more is posted than may be, and what was refused was not sent" * doctest::skip(!has_device())) {
  other_process holder([](const wire& parent) {
    const party me(parent, 4096);
    char end = 0;
    return parent.hear(end) ? 0 : 1;
  });
  const party me(holder.words(), 4096, {.writes = 4, .receives = 2, .pieces = 1});
  std::uint64_t posted = 0;
  const std::array one{me.piece(0, 4096)};
  while (posted < 100 && me.pair->post_write(posted, one, me.theirs, std::nullopt)) ++posted;
  CHECK(posted == 4);
  CHECK(me.pair->post_receive(50));
  CHECK(me.pair->post_receive(51));
  CHECK_FALSE(me.pair->post_receive(52));
  const auto all = me.outcomes(4);
  CHECK(all.size() == 4);
  for (const auto& [id, outcome] : all) CHECK(outcome.ok());
  CHECK(me.pair->post_write(9, one, me.theirs, std::nullopt)); // there is room again
  CHECK(me.outcomes(1).contains(9));
  CHECK(holder.words().say('e'));
  CHECK(holder.join() == 0);
}

TEST_CASE("a wrong key, a place outside and memory that is gone are refused, and nothing is written" *
          doctest::skip(!has_device())) {
  constexpr std::size_t room = 8192;
  enum class wrong : std::uint8_t { key, bounds, gone, own_key };
  for (const auto what : {wrong::key, wrong::bounds, wrong::gone, wrong::own_key}) {
    CAPTURE(int(what));
    other_process writer([what](const wire& parent) {
      party me(parent, room);
      std::ranges::fill(me.memory, std::byte{0x5a});
      char go = 0;
      if (!parent.hear(go)) return 1;
      auto to = me.theirs;
      auto from = me.piece(0, 4096);
      if (what == wrong::key) to.rkey ^= 0x5500;
      if (what == wrong::bounds) to.address += room - 100;
      if (what == wrong::own_key) from.lkey ^= 0x5500;
      const std::array one{from};
      if (!me.pair->post_write(1, one, to, std::nullopt)) return 2;
      for (std::uint64_t id = 2; id < 5; ++id) // behind a write that fails: they come back too, each once
        if (!me.pair->post_write(id, std::array{me.piece(0, 8)}, me.theirs, std::nullopt)) return 3;
      const auto all = me.outcomes(4);
      if (all.size() != 4) return 4;
      if (all.at(1).ok() || all.at(1).error().code != errc::invalid_argument) return 5;
      for (std::uint64_t id = 2; id < 5; ++id)
        if (all.at(id).ok() || all.at(id).error().code != errc::peer_lost) return 6;
      return 0;
    });
    party me(writer.words(), room);
    if (what == wrong::gone) me.region.reset();
    REQUIRE(writer.words().say('g'));
    CHECK(writer.join() == 0);
    CHECK(me.memory == std::vector<std::byte>(room));
  }
}

TEST_CASE("a peer that dies takes everything posted to it with it, each once" * doctest::skip(!has_device())) {
  other_process holder([](const wire& parent) {
    const party me(parent, 1 << 20);
    char never = 0;
    parent.hear(never);
    return 0;
  });
  const party me(holder.words(), 1 << 20);
  const std::array one{me.piece(0, 1 << 20)};
  REQUIRE(me.pair->post_write(0, one, me.theirs, std::nullopt));
  CHECK(me.outcomes(1).at(0).ok());
  holder.kill();
  for (std::uint64_t id = 1; id <= 10; ++id) REQUIRE(me.pair->post_write(id, one, me.theirs, 1));
  REQUIRE(me.pair->post_receive(11));
  const auto all = me.outcomes(11);
  REQUIRE(all.size() == 11);
  for (const auto& [id, outcome] : all) {
    REQUIRE_FALSE(outcome.ok());
    CHECK(outcome.error().code == errc::peer_lost);
  }
}
