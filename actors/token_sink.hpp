// actors/token_sink.hpp: where the answer of a request goes. The request actor calls it, on an actor thread: be short.
// Exactly one of finished and failed comes, and it comes last.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "config/result.hpp"

namespace quadrant::actors {

enum class finish : std::uint8_t { stop, length, cancelled };

class token_sink {
public:
  virtual ~token_sink() = default;
  /// Tokens come once each, in order, index from 0. digest: xxh3 of the row of logits it was sampled from.
  virtual void token(std::int32_t index, std::int32_t id, std::uint64_t digest) = 0;
  /// Only where all logits were asked for: rows of consecutive positions, in order.
  virtual void logits(std::int32_t first_position, std::int32_t vocabulary, std::span<const float> rows) {
    (void)first_position, (void)vocabulary, (void)rows;
  }
  virtual void finished(finish why) = 0;
  virtual void failed(const failure& why) = 0;
};

} // namespace quadrant::actors
