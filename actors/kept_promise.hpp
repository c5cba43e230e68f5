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
  explicit kept_promise(std::shared_ptr<token_sink> to) : to_(std::move(to)) {}
  ~kept_promise() override {
    if (to_) to_->failed({errc::cancelled, "the process is shutting down"});
  }
  kept_promise(const kept_promise&) = delete;
  kept_promise& operator=(const kept_promise&) = delete;

  void token(std::int32_t index, std::int32_t id, std::uint64_t digest) override { to_->token(index, id, digest); }
  void logits(std::int32_t first_position, std::int32_t vocabulary, std::span<const float> rows) override {
    to_->logits(first_position, vocabulary, rows);
  }
  void finished(finish why) override { std::exchange(to_, nullptr)->finished(why); }
  void failed(const failure& why) override { std::exchange(to_, nullptr)->failed(why); }

private:
  std::shared_ptr<token_sink> to_; ///< null once it has heard its end
};

} // namespace quadrant::actors
