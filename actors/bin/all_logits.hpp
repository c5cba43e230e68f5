// actors/bin/all_logits.hpp: the logits of every position of a prompt, through the same steps as serving.
#pragma once
#include <cstdint>
#include <vector>

#include "actors/engine.hpp"
#include "config/result.hpp"

namespace quadrant::bin {

/// [tokens, vocabulary], all finite.
/// Errors  errc::cancelled: a signal came; errc::numeric: a NaN or Inf; what the engine says
result<std::vector<float>> all_logits(actors::engine& engine, std::vector<std::int32_t> tokens);

} // namespace quadrant::bin
