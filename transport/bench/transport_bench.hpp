// transport/bench/transport_bench.hpp: what the transport makes of this machine, beside raw sockets and memcpy in the
// same run. Two processes on this machine; each figure is the median of rounds in which the paths take turns.
//
//   stream           transfers one way, some under way at any time, until all are acknowledged; raw: send and recv
//   stream_checksum  the same with a checksum
//   dispatch_combine 16 rows there and 16 back, all at once: four callers, four expert groups; raw: a socket each, epoll
//   ping             a message there and one back, from handler to handler; raw: send, recv, send, recv
//   ping_actor       from actor to actor (actors/bench/), beside CAF's own remoting
//   kv_handover      from a prefill's last token to decode's first, of one process and of two (actors/bench/)
// Threads one owner; the process must have one thread when it starts
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/result.hpp"
#include "transport/bench/forked.hpp"

namespace quadrant::transport::bench {

struct measurement {
  std::string name, path;        ///< path: raw, memcpy, loopback, tcp, shm, shm_woken (nobody looks on), rdma, caf
  std::uint64_t bytes = 0;       ///< of a transfer
  double p50_us = 0, p99_us = 0; ///< of one transfer alone, until it is acknowledged; ping: until the answer
  double gb_s = 0;               ///< 10^9 bytes of slices a second
  double cpu_s_per_gb = 0;       ///< of both processes
  double ratio_to_raw = 0;       ///< of gb_s; ping, dispatch_combine: of p50_us
  double cpu_ratio_to_raw = 0;
};

struct transport_bench_options {
  std::string only; ///< names that hold this
  int rounds = 7;
  placing cores = placing::apart; ///< of the two processes
  std::function<void(const measurement&)> measured;
};

/// Errors  errc::unavailable: no sockets, no second process
result<void> bench_transport(const transport_bench_options& options);

} // namespace quadrant::transport::bench
