// gpu/fabric.hpp: what a step program says to other ranks, as ops of a stream. gpu/ declares it, actors/ binds
// transport to it.
// Every op returns at once; a receiving op parks its stream until the bytes are in place. Ops of one stream are
// numbered by the program, the same on every rank, so a peer's bytes find their place without a rendezvous.
// Threads one owner per stream
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "gpu/device.hpp"

namespace quadrant::gpu {

/// Rows that ranks have parts of (rule 9: ranks gather, they do not add), in one array or two that travel together.
struct gather_op {
  struct array {
    const std::byte* local = nullptr; ///< [rows, part_bytes]
    std::byte* all = nullptr;         ///< [rows, parts * part_bytes], in the order of the ranks within a row
    std::int32_t part_bytes = 0;      ///< 0: no array
  };
  std::array<array, 2> arrays;
  std::int32_t rows = 0;
  std::int32_t every = 1; ///< part p comes from rank (p + 1) * every - 1; the other ranks only receive
};

/// Activation rows of a layer, sorted by expert, to the groups that own the experts; their answers into `out`.
struct expert_op {
  std::int32_t layer = 0;
  std::int32_t num_experts = 0;
  const std::int32_t* offsets = nullptr; ///< [E+1], known only when the stream gets here
  const std::byte* rows = nullptr;       ///< [offsets[E], row_bytes] act rows
  const float* scales = nullptr;         ///< [offsets[E]], or null for f32 rows
  std::int32_t row_bytes = 0;
  std::byte* out = nullptr; ///< [offsets[E], out_row_bytes]
  std::int32_t out_row_bytes = 0;
};

class fabric {
public:
  virtual ~fabric() = default;
  /// Pipeline hand-over: bytes to the same tensor-parallel rank of the next stage, or from that of the stage before.
  virtual void send_next(stream& s, const std::byte* from, std::size_t bytes) = 0;
  virtual void receive_previous(stream& s, std::byte* to, std::size_t bytes) = 0;
  /// KV split: what attention has folded so far, to the next tensor-parallel rank, or from the one before.
  virtual void send_state(stream& s, const std::byte* from, std::size_t bytes) = 0;
  virtual void receive_state(stream& s, std::byte* to, std::size_t bytes) = 0;
  /// Gathers over the tensor-parallel ranks.
  virtual void gather(stream& s, const gather_op& op) = 0;
  /// Dispatches rows to expert groups and waits for the combine's rows.
  virtual void experts(stream& s, const expert_op& op) = 0;
};

} // namespace quadrant::gpu
