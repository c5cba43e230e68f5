// actors/bin/answer_queue.hpp: a token sink that another thread waits at.
// Threads sink: actors; next: one waiting thread
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "actors/token_sink.hpp"

namespace quadrant::bin {

class answer_queue final : public actors::token_sink {
public:
  struct event {
    std::int32_t token = -1; ///< -1: the answer has ended
    std::uint64_t digest = 0;
    std::int64_t at_ns = 0;
    std::int32_t first_position = 0, vocabulary = 0;
    std::vector<float> logits; ///< instead of a token, where all logits were asked for
    result<actors::finish> end = actors::finish::stop;

    [[nodiscard]] bool is_end() const noexcept { return token < 0 && logits.empty(); }
  };

  /// Nothing where nothing came in time. After an end nothing comes.
  std::optional<event> next(std::chrono::milliseconds patience);

  void token(const actors::made_token& t) override;
  void logits(std::int32_t first_position, std::int32_t vocabulary, std::span<const float> rows) override;
  void finished(std::int32_t sample, actors::finish why) override;
  void failed(const failure& why) override;

private:
  void push(event e);

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<event> events_;
};

} // namespace quadrant::bin
