#include "transport/bench/peer_process.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <system_error>

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "transport/bench/raw_fan.hpp"

namespace quadrant::transport::bench {
namespace {

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

double seconds_of(clockid_t clock) {
  timespec t{};
  if (clock_gettime(clock, &t) != 0) throw std::system_error(errno, std::generic_category(), "clock_gettime");
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

/// Where an endpoint of this machine is.
struct place {
  std::uint64_t endpoint = 0;
  std::uint32_t port = 0, inbox = 0;
};
address to_address(const place& a) {
  return {.endpoint = a.endpoint, .host = "127.0.0.1", .port = std::uint16_t(a.port), .inbox = a.inbox};
}

/// Runs of the raw connection, until it closes.
void serve_raw(const raw_socket& listener, std::span<std::byte> memory) {
  const auto s = listener.accept();
  raw_request r;
  while (s.receive_all(bytes_of(r))) {
    if (r.kind == raw_kind::fan) {
      serve_fan(listener, r.count, memory, r.bytes);
      continue;
    }
    std::size_t at = 0;
    for (std::uint64_t i = 0; i < r.count; ++i) {
      if (at + r.bytes > memory.size()) at = 0;
      if (!s.receive_all(memory.subspan(at, r.bytes))) return;
      if (r.kind == raw_kind::echo) s.send_all(memory.subspan(at, r.bytes));
      at += r.bytes;
    }
    if (r.kind == raw_kind::take) s.send_all(memory.first(1));
  }
}

} // namespace

struct peer_process::greeting {
  std::uint16_t raw_port = 0;
  place sink{}, echo{};
  remote_span memory{};
};

namespace {

/// The life of the other process.
template <class Greeting>
void live(const raw_socket& control, Greeting hello) {
  std::vector<std::byte> memory(memory_bytes);
  auto wire = std::move(make_endpoint({.cluster_token = "bench"})).value();
  const auto listener = raw_socket::listen_on_loopback();
  hello.raw_port = listener.port();
  hello.memory = wire->register_memory(memory);
  const auto self = wire->self();
  hello.sink = {self.endpoint, self.port, wire->open_inbox([](std::span<const std::byte>) {})};
  hello.echo = {self.endpoint, self.port, wire->open_inbox([&](std::span<const std::byte> message) {
                  echo_request r;
                  if (message.size() < sizeof r) return;
                  std::memcpy(&r, message.data(), sizeof r);
                  transfer back{.slices = {}, .message = {message.begin(), message.end()}, .kind = traffic::dispatch};
                  if (r.to.bytes > 0) back.slices = {{std::span(memory).subspan(r.from, r.to.bytes), r.to}};
                  wire->submit(to_address({r.endpoint, r.port, r.inbox}), std::move(back), {});
                })};
  control.send_all(bytes_of(hello));
  serve_raw(listener, memory); // its thread; the endpoint has its own
}

} // namespace

peer_process::peer_process() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  control_ = raw_socket(ends[0]);
  raw_socket theirs(ends[1]);
  pid_ = fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    control_ = {};
    try {
      live(theirs, greeting{});
      _exit(0);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "quadrant bench transport: the other process: %s\n", e.what());
    }
    _exit(1);
  }
  theirs = {};
  greeting hello;
  if (!control_.receive_all(bytes_of(hello)))
    throw std::system_error(ECONNRESET, std::generic_category(), "the other process did not start");
  raw_port_ = hello.raw_port;
  raw_ = raw_socket::connect_to_loopback(raw_port_);
  sink_ = to_address(hello.sink);
  echo_ = to_address(hello.echo);
  memory_ = hello.memory;
}

peer_process::~peer_process() {
  if (pid_ < 0) return;
  raw_ = {};
  control_ = {};
  kill(pid_, SIGKILL); // it holds nothing that anybody needs
  waitpid(pid_, nullptr, 0);
}

double peer_process::cpu_seconds() const {
  clockid_t clock{};
  if (const int bad = clock_getcpuclockid(pid_, &clock); bad != 0)
    throw std::system_error(bad, std::generic_category(), "clock_getcpuclockid");
  return seconds_of(clock);
}

double own_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

} // namespace quadrant::transport::bench
