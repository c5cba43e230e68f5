#include "gpu/event.hpp"

#include <utility>

namespace quadrant::gpu {

void event::fire() const {
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard hold(state_->mutex);
    if (state_->fired) return;
    state_->fired = true;
    waiting.swap(state_->waiting);
  }
  for (const auto& fn : waiting) fn();
}

bool event::fired() const {
  const std::lock_guard hold(state_->mutex);
  return state_->fired;
}

void event::then(std::function<void()> fn) const {
  {
    const std::lock_guard hold(state_->mutex);
    if (!state_->fired) {
      state_->waiting.push_back(std::move(fn));
      return;
    }
  }
  fn();
}

} // namespace quadrant::gpu
