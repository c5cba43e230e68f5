// actors/landing.hpp: the places that a worker keeps for what its peers send. Both sides compute the same offsets.
//
// Bytes may come before the stream asks for them, so their place may hold nothing that is still needed:
//   gather     two places a slot and source rank, used in turn. A rank sends part n only after it has used all parts
//              of n - 1, and part n + 1 only after it has all of n: so nobody writes turn n + 1 while a peer still
//              reads turn n - 1. Where only some ranks have parts (heads, with a split KV), all of n means that every
//              rank has handed on its state, so has used n - 1; and the gather after it is one of all ranks again.
//   state      one a slot, for what attention has folded on the ranks before: the rank before sends the next only when
//              this layer's heads have been gathered, so after they were folded onto it.
//   residual   one a slot, for the residual stream of the stage before: the slot is used again only after the last
//              stage has reported the step.
//   dispatch   one a (caller, slot): the caller waits for its rows to come back before it sends others.
// Units   bytes
#pragma once
#include <cstddef>
#include <cstdint>

namespace quadrant::actors {

constexpr std::size_t round_up_64(std::size_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

/// Landing memory of an attention worker.
struct attention_landing {
  std::uint32_t slots = 0, tp = 1;
  std::size_t part_bytes = 0;     ///< of the largest gather part
  std::size_t residual_bytes = 0; ///< of the largest hand-over
  std::size_t state_bytes = 0;    ///< of the largest attention state

  [[nodiscard]] std::size_t gather_offset(std::uint32_t slot, std::uint64_t ordinal,
                                          std::uint32_t source) const noexcept {
    return ((std::size_t(slot) * 2 + ordinal % 2) * tp + source) * round_up_64(part_bytes);
  }
  [[nodiscard]] std::size_t residual_offset(std::uint32_t slot) const noexcept {
    return std::size_t(slots) * 2 * tp * round_up_64(part_bytes) + slot * round_up_64(residual_bytes);
  }
  [[nodiscard]] std::size_t state_offset(std::uint32_t slot) const noexcept {
    return residual_offset(slots) + slot * round_up_64(state_bytes);
  }
  [[nodiscard]] std::size_t bytes() const noexcept { return state_offset(slots); }
};

/// Landing memory of an expert group: rows of all callers and slots, numbered through, then their scales.
struct dispatch_landing {
  std::uint32_t callers = 0, slots = 0;
  std::int32_t rows = 0; ///< of the largest dispatch of one caller
  std::size_t row_bytes = 0;
  bool scales = false;

  [[nodiscard]] std::int32_t first_row(std::uint32_t caller, std::uint32_t slot) const noexcept {
    return std::int32_t(caller * slots + slot) * rows;
  }
  [[nodiscard]] std::size_t row_offset(std::int32_t row) const noexcept { return std::size_t(row) * row_bytes; }
  [[nodiscard]] std::size_t scale_offset(std::int32_t row) const noexcept {
    return round_up_64(row_offset(first_row(callers, 0))) + std::size_t(row) * sizeof(float);
  }
  [[nodiscard]] std::size_t bytes() const noexcept { return scale_offset(scales ? first_row(callers, 0) : 0); }
};

} // namespace quadrant::actors
