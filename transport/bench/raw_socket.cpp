#include "transport/bench/raw_socket.hpp"

#include <cerrno>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quadrant::transport::bench {
namespace {

int checked(int status, const char* what) {
  if (status < 0) throw std::system_error(errno, std::generic_category(), what);
  return status;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  return at;
}

void no_delay(int fd) {
  const int on = 1;
  checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
}

} // namespace

raw_socket::~raw_socket() {
  if (fd_ >= 0) ::close(fd_);
}

raw_socket raw_socket::listen_on_loopback() {
  raw_socket s(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const auto at = loopback(0);
  checked(::bind(s.fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at), "bind");
  checked(::listen(s.fd_, 64), "listen");
  return s;
}

raw_socket raw_socket::connect_to_loopback(std::uint16_t port) {
  raw_socket s(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const auto at = loopback(port);
  checked(::connect(s.fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at), "connect");
  no_delay(s.fd_);
  return s;
}

raw_socket raw_socket::accept() const {
  raw_socket s(checked(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC), "accept"));
  no_delay(s.fd_);
  return s;
}

std::uint16_t raw_socket::port() const {
  sockaddr_in at{};
  socklen_t size = sizeof at;
  checked(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size), "getsockname");
  return ntohs(at.sin_port);
}

void raw_socket::send_all(std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "send");
    bytes = bytes.subspan(std::size_t(n));
  }
}

bool raw_socket::receive_all(std::span<std::byte> bytes) const {
  const bool nothing = bytes.empty();
  for (auto left = bytes; !left.empty();) {
    const auto n = ::recv(fd_, left.data(), left.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "recv");
    if (n == 0) {
      if (left.size() == bytes.size()) return false;
      throw std::system_error(ECONNRESET, std::generic_category(), "recv");
    }
    left = left.subspan(std::size_t(n));
  }
  return !nothing;
}

} // namespace quadrant::transport::bench
