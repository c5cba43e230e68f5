// transport/bench/raw_socket.hpp: a blocking TCP socket and nothing around it: what a transport can be measured against.
// Errors  a lost peer or a refused call ends the benchmark: std::system_error
// Threads one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace quadrant::transport::bench {

class raw_socket {
public:
  raw_socket() = default;
  explicit raw_socket(int fd) noexcept : fd_(fd) {}
  raw_socket(raw_socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  raw_socket& operator=(raw_socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~raw_socket();

  static raw_socket listen_on_loopback();
  static raw_socket connect_to_loopback(std::uint16_t port);
  [[nodiscard]] raw_socket accept() const;
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] int fd() const noexcept { return fd_; }

  void send_all(std::span<const std::byte> bytes) const;
  /// False where the peer has closed before the first byte.
  [[nodiscard]] bool receive_all(std::span<std::byte> bytes) const;

private:
  int fd_ = -1;
};

} // namespace quadrant::transport::bench
