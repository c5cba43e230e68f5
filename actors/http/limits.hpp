// actors/http/limits.hpp: what one client, and all of them, may cost.
#pragma once
#include <cstddef>
#include <cstdint>

namespace quadrant::actors::http {

struct limits {
  std::size_t connections = 2048;       ///< one more is told 503 and let go
  std::size_t head_bytes = 16 << 10;    ///< of a request: its line and fields
  std::size_t body_bytes = 1 << 20;     ///< of a request
  std::size_t ahead_bytes = 64 << 10;   ///< of requests that come while one is answered
  std::size_t waiting_bytes = 64 << 20; ///< of all requests that wait for their prompt to be read; one more is told 503
  /// Of answers that a client has not read, beside what the kernel holds. One answer alone may be larger.
  std::size_t unsent_bytes = 256 << 10;
  std::int64_t kernel_send_bytes = 128 << 10; ///< what the kernel is asked to hold for a client
  std::int64_t idle_ms = 75'000;              ///< between requests
  std::int64_t head_ms = 10'000;              ///< from the first byte of a request to the end of its head
  std::int64_t body_ms = 60'000;              ///< from there to the end of its body
  std::int64_t stall_ms = 30'000;             ///< a client that reads nothing for so long is gone
  std::int64_t linger_ms = 2'000;             ///< for a client to read our last words
};

} // namespace quadrant::actors::http
