// actors/open_transfers.hpp: counts the transfers that read a worker's memory, so that the memory outlives them.
// Threads any
#pragma once
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include "transport/endpoint.hpp"

namespace quadrant::actors {

class open_transfers {
public:
  /// Submits `what`, which reads memory of this worker. `done` runs before the transfer counts as ended.
  void submit(transport::endpoint& endpoint, const transport::address& to, transport::transfer what,
              transport::completion done) {
    {
      const std::lock_guard hold(mutex_);
      ++open_;
    }
    endpoint.submit(to, std::move(what), [this, done = std::move(done)](result<void> outcome) {
      done(std::move(outcome));
      const std::lock_guard hold(mutex_);
      if (--open_ == 0) none_.notify_all();
    });
  }
  /// Every transfer ends: at the latest at its deadline.
  void wait_for_none() {
    std::unique_lock hold(mutex_);
    none_.wait(hold, [this] { return open_ == 0; });
  }

private:
  std::mutex mutex_;
  std::condition_variable none_;
  std::size_t open_ = 0;
};

} // namespace quadrant::actors
