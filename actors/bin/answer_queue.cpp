#include "actors/bin/answer_queue.hpp"

#include "config/clock.hpp"

namespace quadrant::bin {

std::optional<answer_queue::event> answer_queue::next(std::chrono::milliseconds patience) {
  std::unique_lock hold(mutex_);
  if (!came_.wait_for(hold, patience, [this] { return !events_.empty(); })) return std::nullopt;
  auto e = std::move(events_.front());
  events_.pop_front();
  return e;
}

void answer_queue::push(event e) {
  e.at_ns = steady_clock::monotonic_ns();
  {
    const std::lock_guard hold(mutex_);
    events_.push_back(std::move(e));
  }
  came_.notify_one();
}

void answer_queue::token(const actors::made_token& t) {
  event e;
  e.token = t.id;
  e.digest = t.digest;
  push(std::move(e));
}

void answer_queue::logits(std::int32_t first_position, std::int32_t vocabulary, std::span<const float> rows) {
  event e;
  e.first_position = first_position;
  e.vocabulary = vocabulary;
  e.logits.assign(rows.begin(), rows.end());
  push(std::move(e));
}

void answer_queue::finished(std::int32_t, actors::finish why) {
  event e;
  e.end = why;
  push(std::move(e));
}

void answer_queue::failed(const failure& why) {
  event e;
  e.end = why;
  push(std::move(e));
}

} // namespace quadrant::bin
