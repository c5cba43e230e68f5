// test/transport/party.hpp: an endpoint with a piece of memory and an inbox, and completions that a test can wait for.
// Waiting has a generous limit, so that a lost completion fails a test and does not hang it.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "transport/endpoint.hpp"

namespace quadrant::test {

inline constexpr std::chrono::seconds patience{60};

/// Polls what has no event to wait for.
template <class Condition>
bool eventually(Condition&& holds) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// Counts completions; each is told apart by the number that `next` gave it.
class outcomes {
public:
  transport::completion next() {
    const std::lock_guard hold(state_->mutex);
    return [state = state_, number = state_->asked++](result<void> outcome) {
      const std::lock_guard hold_inner(state->mutex);
      state->seen[number].push_back(std::move(outcome));
      ++state->done;
      state->changed.notify_all();
    };
  }
  /// True when every completion asked for has run.
  bool all() {
    std::unique_lock hold(state_->mutex);
    return state_->changed.wait_for(hold, patience, [&] { return state_->seen.size() == state_->asked; });
  }
  /// The outcome of completion `number`, after waiting for it.
  result<void> of(std::size_t number) {
    std::unique_lock hold(state_->mutex);
    if (!state_->changed.wait_for(hold, patience, [&] { return state_->seen.contains(number); }))
      return {errc::unavailable, "the completion never ran"};
    return state_->seen[number].front();
  }
  std::size_t ran() {
    const std::lock_guard hold(state_->mutex);
    return state_->done;
  }

private:
  struct state {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::size_t, std::vector<result<void>>> seen;
    std::size_t asked = 0, done = 0;
  };
  std::shared_ptr<state> state_ = std::make_shared<state>();
};

inline std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct party {
  /// Over TCP, unless `options` say otherwise.
  explicit party(std::size_t bytes = 1 << 16, transport::endpoint_options options = {.shared_memory = false})
      : memory(bytes), wire([&] {
          if (options.cluster_token.empty()) options.cluster_token = "token";
          return std::move(transport::make_endpoint(options)).value();
        }()) {
    span = wire->register_memory(memory);
    self = wire->self();
    self.inbox = wire->open_inbox([this](std::span<const std::byte> message) {
      const std::lock_guard hold(mutex);
      messages.push_back(text_of(message));
      changed.notify_all();
    });
  }
  /// Ends the endpoint before what its inbox uses.
  ~party() { wire.reset(); }

  [[nodiscard]] transport::remote_span at(std::uint64_t offset, std::uint64_t bytes) const {
    return {span.key, offset, bytes};
  }
  /// The oldest message not yet taken, or "(none)" after waiting for it in vain.
  std::string take() {
    std::unique_lock hold(mutex);
    if (!changed.wait_for(hold, patience, [&] { return !messages.empty(); })) return "(none)";
    auto text = messages.front();
    messages.pop_front();
    return text;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> messages;
  std::vector<std::byte> memory;
  std::unique_ptr<transport::endpoint> wire;
  transport::remote_span span;
  transport::address self;
};

/// Sends a message and waits: true when it arrived.
inline bool reaches(party& from, party& to) {
  outcomes done;
  from.wire->submit(to.self, {.slices = {}, .message = bytes_of("ping")}, done.next());
  return done.of(0).ok() && to.take() == "ping";
}

} // namespace quadrant::test
