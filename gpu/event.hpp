// gpu/event.hpp: a point in time that streams and hosts can wait for. Fires once.
// Threads any
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace quadrant::gpu {

class event {
public:
  event() : state_(std::make_shared<state>()) {}

  /// Marks the event and runs what waited for it, on this thread. A second call does nothing.
  void fire() const;
  [[nodiscard]] bool fired() const;
  /// Runs `fn` when the event fires, at once if it already has. `fn` must be short: it runs on the firing thread.
  void then(std::function<void()> fn) const;

private:
  struct state {
    std::mutex mutex;
    bool fired = false;
    std::vector<std::function<void()>> waiting;
  };
  std::shared_ptr<state> state_;
};

} // namespace quadrant::gpu
