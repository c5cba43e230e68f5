// transport/stream/poll_set.hpp: connections that no kernel call tells of: their thread looks at them.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

namespace quadrant::transport::stream {

class pollable {
public:
  virtual ~pollable() = default;
  /// Runs what can be done, handlers too; returns how much that was.
  virtual std::size_t poll() = 0;
  /// The thread is about to sleep: from now on it must be woken. False where there is something to do after all.
  virtual bool prepare_to_sleep() = 0;
  /// Did the other side last run on this very core? Then nothing can come while this thread looks.
  [[nodiscard]] virtual bool shares_core() const { return false; }
};

class poll_set {
public:
  void add(pollable& one) { all_.push_back(&one); }
  void remove(const pollable& one) noexcept {
    for (auto& known : all_)
      if (known == &one) known = nullptr;
  }

  std::size_t poll() {
    std::size_t done = 0;
    for (std::size_t i = 0; i < all_.size(); ++i) // a handler may add one, or end one
      if (all_[i] != nullptr) done += all_[i]->poll();
    std::erase(all_, nullptr);
    return done;
  }
  bool prepare_to_sleep() {
    bool may = true;
    for (auto* one : all_)
      if (one != nullptr && !one->prepare_to_sleep()) may = false;
    return may;
  }
  [[nodiscard]] bool shares_core() const {
    return std::ranges::any_of(all_, [](const auto* one) { return one != nullptr && one->shares_core(); });
  }

private:
  std::vector<pollable*> all_; ///< null: gone, while poll() runs
};

} // namespace quadrant::transport::stream
