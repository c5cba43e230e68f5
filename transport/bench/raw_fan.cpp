#include "transport/bench/raw_fan.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quadrant::transport::bench {
namespace {

int make_epoll(const std::vector<raw_socket>& sockets) {
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = i;
    if (epoll_ctl(fd, EPOLL_CTL_ADD, sockets[i].fd(), &e) != 0)
      throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
  return fd;
}

/// Reads what has come on any socket into its place of `bytes`; whole(i) when the place of socket i is full. Until
/// `left` sockets are done: whole() returns true, or the peer has closed.
template <class Whole>
void read_all(int epoll, const std::vector<raw_socket>& sockets, std::span<std::byte> memory, std::size_t bytes,
              Whole whole) {
  std::vector<std::size_t> got(sockets.size());
  std::array<epoll_event, 64> events{};
  for (std::size_t left = sockets.size(); left > 0;) {
    const int n = epoll_wait(epoll, events.data(), int(events.size()), -1);
    if (n < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "epoll_wait");
    for (int e = 0; e < n; ++e) {
      const auto i = std::size_t(events[std::size_t(e)].data.u64);
      const auto place = memory.subspan(i * bytes + got[i], bytes - got[i]);
      const auto more = ::recv(sockets[i].fd(), place.data(), place.size(), MSG_DONTWAIT);
      if (more < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (more <= 0) { // closed
        epoll_ctl(epoll, EPOLL_CTL_DEL, sockets[i].fd(), nullptr);
        --left;
        continue;
      }
      got[i] += std::size_t(more);
      if (got[i] < bytes) continue;
      got[i] = 0;
      if (whole(i)) --left;
    }
  }
}

} // namespace

raw_fan::raw_fan(std::uint16_t port, std::size_t connections) {
  for (std::size_t i = 0; i < connections; ++i) sockets_.push_back(raw_socket::connect_to_loopback(port));
  epoll_ = make_epoll(sockets_);
}

raw_fan::~raw_fan() { ::close(epoll_); }

void raw_fan::round(std::span<std::byte> memory, std::size_t bytes) {
  for (std::size_t i = 0; i < sockets_.size(); ++i) sockets_[i].send_all(memory.subspan(i * bytes, bytes));
  read_all(epoll_, sockets_, memory, bytes, [](std::size_t) { return true; });
}

void serve_fan(const raw_socket& listener, std::size_t connections, std::span<std::byte> memory, std::size_t bytes) {
  std::vector<raw_socket> sockets;
  for (std::size_t i = 0; i < connections; ++i) sockets.push_back(listener.accept());
  const int epoll = make_epoll(sockets);
  read_all(epoll, sockets, memory, bytes, [&](std::size_t i) {
    sockets[i].send_all(memory.subspan(i * bytes, bytes));
    return false;
  });
  ::close(epoll);
}

} // namespace quadrant::transport::bench
