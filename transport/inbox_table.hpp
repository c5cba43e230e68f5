// transport/inbox_table.hpp: message handlers by number.
// Errors  errc::not_found: no such inbox; errc::invalid_argument: its handler threw (what it said)
// Threads any; a handler may not close its own inbox
#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
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
    entries_.emplace(++last_, std::make_shared<entry>(std::move(handler)));
    return last_;
  }

  void close(std::uint32_t inbox) {
    inbox_handler ended; // its captures die here, outside the lock, before we return
    std::unique_lock hold(mutex_);
    const auto found = entries_.find(inbox);
    if (found == entries_.end()) return;
    const auto e = found->second;
    e->closing = true;
    left_.wait(hold, [&] { return e->running == 0; });
    ended.swap(e->handler);
    entries_.erase(inbox);
  }

  result<void> deliver(std::uint32_t inbox, std::span<const std::byte> message) {
    std::shared_ptr<entry> e;
    {
      const std::lock_guard hold(mutex_);
      const auto found = entries_.find(inbox);
      if (found == entries_.end() || found->second->closing)
        return {errc::not_found, "no inbox " + std::to_string(inbox) + " here"};
      e = found->second;
      ++e->running;
    }
    auto outcome = run(*e, inbox, message);
    const std::lock_guard hold(mutex_);
    if (--e->running == 0 && e->closing) left_.notify_all();
    return outcome;
  }

private:
  struct entry {
    explicit entry(inbox_handler h) : handler(std::move(h)) {}
    inbox_handler handler;
    int running = 0;
    bool closing = false;
  };
  static result<void> run(const entry& e, std::uint32_t inbox, std::span<const std::byte> message) {
    const auto threw = [&](const char* what) {
      return failure{errc::invalid_argument, "the handler of inbox " + std::to_string(inbox) + " threw: " + what};
    };
    try {
      e.handler(message);
      return {};
    } catch (const std::exception& x) {
      return threw(x.what());
    } catch (...) {
      return threw("no std::exception");
    }
  }

  std::mutex mutex_;
  std::condition_variable left_;
  std::map<std::uint32_t, std::shared_ptr<entry>> entries_;
  std::uint32_t last_ = 0;
};

} // namespace quadrant::transport
