// transport/bench/raw_fan.hpp: many messages at once over as many raw sockets with epoll: what dispatch and combine
// between several callers and several expert groups can be measured against.
// Errors  std::system_error
// Threads one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/bench/raw_socket.hpp"

namespace quadrant::transport::bench {

class raw_fan {
public:
  /// To a process that runs serve_fan.
  raw_fan(std::uint16_t port, std::size_t connections);
  ~raw_fan();
  raw_fan(const raw_fan&) = delete;
  raw_fan& operator=(const raw_fan&) = delete;

  /// Sends `bytes` of memory on each connection, and returns when as many have come back on each.
  void round(std::span<std::byte> memory, std::size_t bytes);

private:
  std::vector<raw_socket> sockets_;
  int epoll_;
};

/// The other side: takes that many connections, and sends back each `bytes` that have come, until all have closed.
void serve_fan(const raw_socket& listener, std::size_t connections, std::span<std::byte> memory, std::size_t bytes);

} // namespace quadrant::transport::bench
