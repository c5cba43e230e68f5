// transport/bench/peer_process.hpp: the other side of a benchmark, in a process of its own: one that takes and answers.
//
//   here ═ raw socket ═▶ a loop of recv (and send)
//   here ═ endpoint ═══▶ memory, an inbox that takes, an inbox that answers; the same again, of an endpoint that sleeps
//                        at once where it has nothing to do
// Threads one owner; made while this process has one thread, because it forks
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "transport/bench/forked.hpp"
#include "transport/bench/raw_socket.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::transport::bench {

inline constexpr std::size_t memory_bytes = std::size_t{64} << 20; ///< of each side: beyond the caches

/// Where an inbox of this machine is, as plain bytes: both sides are one program.
struct place {
  std::uint64_t endpoint = 0;
  std::uint32_t port = 0, inbox = 0;
};
inline address to_address(const place& a) {
  return {.endpoint = a.endpoint, .host = "127.0.0.1", .port = std::uint16_t(a.port), .inbox = a.inbox};
}

/// How a message to `echo` begins: where it comes back to, and which of the other process's memory comes with it.
struct echo_request {
  place back;
  std::uint64_t from = 0;
  remote_span to; ///< bytes 0: the message alone
};

/// What the raw connection asks for, once a run.
enum class raw_kind : std::uint64_t {
  take, ///< `count` messages; one byte comes back, after the last
  echo, ///< each comes back
  fan   ///< serve_fan with `count` connections
};
struct raw_request {
  std::uint64_t bytes = 0, count = 0;
  raw_kind kind = raw_kind::take;
};

/// What the endpoint of a side offers.
struct offers {
  place sink{}, echo{}; ///< inboxes
  remote_span memory{};
};
/// An endpoint that takes and answers.
class taker {
public:
  taker(std::span<std::byte> memory, endpoint_options options);
  [[nodiscard]] const offers& what() const noexcept { return what_; }
  [[nodiscard]] endpoint& wire() const noexcept { return *wire_; }

private:
  std::span<std::byte> memory_;
  std::unique_ptr<endpoint> wire_;
  offers what_;
};

class peer_process {
public:
  explicit peer_process(placing cores);

  [[nodiscard]] const raw_socket& raw() const noexcept { return raw_; }
  [[nodiscard]] std::uint16_t raw_port() const noexcept { return raw_port_; }
  [[nodiscard]] const offers& awake() const noexcept { return awake_; }
  [[nodiscard]] const offers& asleep() const noexcept { return asleep_; }
  [[nodiscard]] double cpu_seconds() const { return process_.cpu_seconds(); }

private:
  forked process_;
  raw_socket raw_;
  std::uint16_t raw_port_ = 0;
  offers awake_, asleep_;
};

} // namespace quadrant::transport::bench
