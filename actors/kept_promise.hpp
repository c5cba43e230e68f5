// actors/kept_promise.hpp: a token sink that hears an end in any case. A request that comes to a gateway which has
// ended is dropped with its message; the last one to let go of its sink then says so.
//
// Threads as token_sink; the end may come on the thread that lets go
#pragma once
#include <memory>
#include <utility>

#include "actors/token_sink.hpp"

namespace quadrant::actors {

class kept_promise final : public token_sink {
public:
  kept_promise(std::shared_ptr<token_sink> to, std::int32_t samples) : to_(std::move(to)), open_(samples) {}
  ~kept_promise() override {
    if (to_) to_->failed({errc::cancelled, "the process is shutting down"});
  }
  kept_promise(const kept_promise&) = delete;
  kept_promise& operator=(const kept_promise&) = delete;

  void prompt_read(std::int32_t cached_tokens) override { to_->prompt_read(cached_tokens); }
  void token(const made_token& t) override { to_->token(t); }
  void logits(std::int32_t first_position, std::int32_t vocabulary, std::span<const float> rows) override {
    to_->logits(first_position, vocabulary, rows);
  }
  void finished(std::int32_t sample, finish why) override {
    const auto to = --open_ > 0 ? to_ : std::exchange(to_, nullptr);
    to->finished(sample, why);
  }
  void failed(const failure& why) override { std::exchange(to_, nullptr)->failed(why); }

private:
  std::shared_ptr<token_sink> to_; ///< null once it has heard its last end
  std::int32_t open_;              ///< samples that have not ended
};

} // namespace quadrant::actors
