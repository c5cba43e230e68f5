// test/transport/raw_peer.hpp: a peer made of a plain socket, that can speak the protocol as wrongly as a test wants.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "config/check.hpp"
#include "transport/frame.hpp"

namespace quadrant::test {

class raw_socket {
public:
  explicit raw_socket(int fd) : fd_(fd) {
    QCHECK(fd >= 0);
    const timeval limit{.tv_sec = 60, .tv_usec = 0}; // a lost answer fails the test and does not hang it
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  raw_socket(raw_socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  raw_socket& operator=(raw_socket&&) = delete;
  ~raw_socket() { close(); }

  [[nodiscard]] int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// False where the other side is gone.
  bool send(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes = bytes.subspan(std::size_t(n));
    }
    return true;
  }
  /// Fewer bytes where the stream ends before.
  [[nodiscard]] std::vector<std::byte> receive(std::size_t n) const {
    std::vector<std::byte> bytes(n);
    std::size_t got = 0;
    while (got < n) {
      const auto more = ::recv(fd_, bytes.data() + got, n - got, 0);
      if (more <= 0) break;
      got += std::size_t(more);
    }
    bytes.resize(got);
    return bytes;
  }
  template <std::size_t N>
  [[nodiscard]] std::optional<std::array<std::byte, N>> receive_exactly() const {
    const auto bytes = receive(N);
    if (bytes.size() != N) return std::nullopt;
    std::array<std::byte, N> to;
    std::copy(bytes.begin(), bytes.end(), to.begin());
    return to;
  }
  /// No more will be sent; what comes can still be read.
  void finish_sending() const { ::shutdown(fd_, SHUT_WR); }
  /// True when the other side ends the stream; reads what is left of it.
  [[nodiscard]] bool ends() const {
    std::byte some[4096];
    ssize_t n = 0;
    while ((n = ::recv(fd_, some, sizeof some, 0)) > 0) {
    }
    return n == 0 || errno == ECONNRESET || errno == EPIPE;
  }

private:
  int fd_;
};

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

inline raw_socket dial(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const auto at = loopback(port);
  QCHECK_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  return raw_socket(fd);
}

/// What a dialler says and hears before its first transfer; the listener's welcome comes back.
struct introduction {
  std::string_view token = "token";
  std::uint64_t dialler = 77, numerics = 0;
};
inline std::optional<transport::welcome> introduce(const raw_socket& s, std::uint64_t listener,
                                                   const introduction& me = {}) {
  const auto asked = s.receive_exactly<transport::challenge_bytes>();
  if (!asked) return std::nullopt;
  transport::meeting about{.dialler = me.dialler,
                           .listener = listener,
                           .numerics = me.numerics,
                           .by_listener = *asked,
                           .by_dialler = transport::random_challenge()};
  s.send(transport::encode(transport::hello{.dialler = about.dialler,
                                            .listener = listener,
                                            .numerics = me.numerics,
                                            .asked = about.by_dialler,
                                            .answer = transport::prove(me.token, transport::side::dialler, about)}));
  const auto bytes = s.receive_exactly<transport::welcome_bytes>();
  if (!bytes) return std::nullopt;
  const auto w = transport::decode_welcome(*bytes);
  if (!w) return std::nullopt;
  if (w->outcome == transport::verdict::welcome)
    QCHECK(transport::same(w->answer, transport::prove(me.token, transport::side::listener, about)));
  return *w;
}

/// A whole transfer frame.
inline std::vector<std::byte> frame(transport::transfer_head head, const std::vector<transport::slice>& slices,
                                    std::span<const std::byte> message) {
  head.num_slices = std::uint32_t(slices.size());
  head.message_bytes = std::uint32_t(message.size());
  auto bytes = encode(head, slices);
  bytes.insert(bytes.end(), message.begin(), message.end());
  for (const auto& s : slices) bytes.insert(bytes.end(), s.from.begin(), s.from.end());
  return bytes;
}

struct answer {
  std::uint64_t id = 0;
  std::optional<errc> problem;
};
inline std::optional<answer> receive_ack(const raw_socket& s) {
  const auto bytes = s.receive_exactly<transport::ack_head_bytes>();
  if (!bytes) return std::nullopt;
  const auto a = transport::decode_ack(*bytes);
  if (!a || s.receive(a->text_bytes).size() != a->text_bytes) return std::nullopt;
  return answer{a->id, a->code == 0 ? std::nullopt : std::optional(errc(a->code - 1))};
}

/// A listener at a port of its own, under an endpoint id of its own.
class raw_listener {
public:
  static constexpr std::uint64_t id = 4242;
  raw_listener() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const auto at = loopback(0);
    QCHECK_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    QCHECK_EQ(::listen(fd_, 8), 0);
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    QCHECK_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &size), 0);
    self_ = {.endpoint = id, .host = "127.0.0.1", .port = ntohs(bound.sin_port), .inbox = 1};
  }
  raw_listener(const raw_listener&) = delete;
  raw_listener& operator=(const raw_listener&) = delete;
  ~raw_listener() { ::close(fd_); }

  [[nodiscard]] const transport::address& self() const { return self_; }
  [[nodiscard]] raw_socket accept() const { return raw_socket(::accept(fd_, nullptr, nullptr)); }
  /// Accepts and plays the listener's part of the handshake with this token.
  [[nodiscard]] raw_socket welcome(std::string_view token = "token") const {
    auto s = accept();
    const auto asked = transport::random_challenge();
    s.send(asked);
    const auto bytes = s.receive_exactly<transport::hello_bytes>();
    QCHECK(bytes.has_value());
    const auto h = transport::decode_hello(*bytes);
    const transport::meeting about{.dialler = h->dialler,
                                   .listener = h->listener,
                                   .numerics = h->numerics,
                                   .by_listener = asked,
                                   .by_dialler = h->asked};
    s.send(transport::encode(transport::welcome{.outcome = transport::verdict::welcome,
                                                .answer = transport::prove(token, transport::side::listener, about)}));
    return s;
  }

private:
  int fd_;
  transport::address self_;
};

/// The next piece's head, or nothing where the stream ends. Questions before it go unanswered.
inline std::optional<transport::transfer_head> receive_head(const raw_socket& s) {
  auto bytes = s.receive(transport::ask_bytes);
  while (bytes.size() == transport::ask_bytes && transport::kind_of(bytes) == transport::frame_kind::ask)
    bytes = s.receive(transport::ask_bytes);
  const auto rest = s.receive(transport::transfer_head_bytes - transport::ask_bytes);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  if (bytes.size() != transport::transfer_head_bytes) return std::nullopt;
  const auto head = transport::decode_transfer(std::span(bytes).first<transport::transfer_head_bytes>());
  return head ? std::optional(*head) : std::nullopt;
}

} // namespace quadrant::test
