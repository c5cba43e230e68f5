// actors/token_sink.hpp: where the answer of a request goes. The request actor calls it, on an actor thread: be short.
// A request makes one or several samples. Each ends with one finished, or all that have not ended with one failed; nothing
// comes after the last end.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "config/result.hpp"
#include "gpu/sampling.hpp"

namespace quadrant::actors {

enum class finish : std::uint8_t { stop, length, cancelled };

/// One token of an answer.
struct made_token {
  std::int32_t sample = 0; ///< of the request, from 0
  std::int32_t index = 0;  ///< in the sample's answer; they come once each, in order, from 0
  std::int32_t id = 0;
  std::uint64_t digest = 0;                  ///< xxh3 of the row of logits it was sampled from
  float logprob = 0;                         ///< where logprobs were asked for
  std::span<const gpu::token_logprob> top{}; ///< the likeliest, best first; gone when the call returns
};

class token_sink {
public:
  virtual ~token_sink() = default;
  /// Once, before the first token: so many of the prompt's tokens needed no computation.
  virtual void prompt_read(std::int32_t cached_tokens) { (void)cached_tokens; }
  virtual void token(const made_token& t) = 0;
  /// Only where all logits were asked for: rows of consecutive positions, in order.
  virtual void logits(std::int32_t first_position, std::int32_t vocabulary, std::span<const float> rows) {
    (void)first_position, (void)vocabulary, (void)rows;
  }
  virtual void finished(std::int32_t sample, finish why) = 0;
  virtual void failed(const failure& why) = 0;
};

} // namespace quadrant::actors
