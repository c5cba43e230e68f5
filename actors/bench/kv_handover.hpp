// actors/bench/kv_handover.hpp: how much of a hand-over a request sees: from the end of its prefill to the start of its first
// decode step. With prefill and decode in one process, and in two, over shared memory and over TCP.
//
//   chunk 1 ─▶ chunk 2 ─▶ … ─▶ last chunk ─▶ token 0 ──────────────┬▶ first step
//      └ KV leaves  └ KV leaves     └ KV leaves ─▶ decode has it ──┘
//
// What cannot be hidden is the KV of the last chunk: its time on the wire is added to the one-process figure that the
// others are measured against.
// Threads one owner; the process must have one thread when it starts
#pragma once
#include <filesystem>

#include "transport/bench/transport_bench.hpp"

namespace quadrant::actors::bench {

struct kv_handover_options {
  std::filesystem::path model, executable; ///< the program, for the processes to start
  transport::bench::transport_bench_options how;
};

/// Three measurements named kv_handover, of the paths loopback, shm and tcp. bytes: KV of the last chunk; p50_us, p99_us:
/// from end to start; gb_s: of a raw socket; ratio_to_raw: p50 over that of one process and the last chunk's time on a
/// raw socket.
/// Errors  errc::unavailable, and those of engine::start
result<void> bench_kv_handover(const kv_handover_options& options);

} // namespace quadrant::actors::bench
