// transport/inbox_table.hpp: message handlers by number.
// Threads any; a handler may not close its own inbox
#pragma once
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "transport/endpoint.hpp"

namespace quadrant::transport {

class inbox_table {
public:
  std::uint32_t open(inbox_handler handler) {
    const std::lock_guard hold(mutex_);
    entries_.emplace(++last_, entry{std::make_shared<const inbox_handler>(std::move(handler))});
    return last_;
  }
  void close(std::uint32_t inbox) {
    std::unique_lock hold(mutex_);
    const auto found = entries_.find(inbox);
    if (found == entries_.end()) return;
    found->second.closing = true;
    left_.wait(hold, [&] { return found->second.running == 0; });
    entries_.erase(found);
  }
  /// Errors  errc::not_found: no such inbox
  result<void> deliver(std::uint32_t inbox, std::span<const std::byte> message) {
    std::shared_ptr<const inbox_handler> handler;
    {
      const std::lock_guard hold(mutex_);
      const auto found = entries_.find(inbox);
      if (found == entries_.end() || found->second.closing) return {errc::not_found, "no inbox " + std::to_string(inbox) + " here"};
      ++found->second.running;
      handler = found->second.handler;
    }
    (*handler)(message);
    const std::lock_guard hold(mutex_);
    auto& e = entries_.at(inbox);
    if (--e.running == 0 && e.closing) left_.notify_all();
    return {};
  }

private:
  struct entry {
    std::shared_ptr<const inbox_handler> handler;
    int running = 0;
    bool closing = false;
  };
  std::mutex mutex_;
  std::condition_variable left_;
  std::map<std::uint32_t, entry> entries_;
  std::uint32_t last_ = 0;
};

} // namespace quadrant::transport
