#include "actors/bin/all_logits.hpp"

#include <algorithm>
#include <cmath>

#include "actors/bin/answer_queue.hpp"
#include "actors/bin/session.hpp"

namespace quadrant::bin {

result<std::vector<float>> all_logits(actors::engine& engine, std::vector<std::int32_t> tokens) {
  const auto wanted = tokens.size() * std::size_t(engine.config().vocab_size);
  actors::generation what;
  what.tokens = std::move(tokens);
  what.all_logits = true;
  const auto queue = std::make_shared<answer_queue>();
  const auto id = engine.submit(std::move(what), queue);
  std::vector<float> logits;
  for (;;) {
    const auto event = queue->next(std::chrono::milliseconds(100));
    if (!event && asked_to_stop()) engine.cancel(id);
    if (!event) continue;
    logits.insert(logits.end(), event->logits.begin(), event->logits.end());
    if (!event->is_end()) continue;
    if (!event->end) return event->end.error();
    break;
  }
  if (logits.size() != wanted) return {errc::cancelled, "stopped before the end"};
  if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); }))
    return {errc::numeric, "a NaN or Inf reached the logits: the checkpoint may be broken"};
  return logits;
}

} // namespace quadrant::bin
