// actors/bench/actor_ping.hpp: 256 bytes from an actor to one of another process and back: over the transport, as the data
// plane of a cluster does it, and over CAF's own remoting, in turns.
// Threads the process must have one when it starts, because it forks
#pragma once
#include "transport/bench/transport_bench.hpp"

namespace quadrant::actors::bench {

/// Two measurements named ping_actor, of the paths caf and tcp; their ratios are to caf.
/// Errors  errc::unavailable: no sockets, no second process
result<void> bench_actor_ping(const transport::bench::transport_bench_options& options);

} // namespace quadrant::actors::bench
