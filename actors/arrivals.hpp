// actors/arrivals.hpp: matches what has arrived with who waits for it, whichever comes first.
// Threads any
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <mutex>

#include "gpu/event.hpp"

namespace quadrant::actors {

enum class arrival_kind : std::uint8_t { gather, residual, state, combine };

struct arrival_key {
  arrival_kind kind;
  std::uint32_t slot;
  std::uint64_t ordinal;
  auto operator<=>(const arrival_key&) const = default;
};

class arrivals {
public:
  /// Fires `e` when `needed` arrivals of `key` have come; at once if they already have. Each key is expected once.
  void expect(arrival_key key, std::uint32_t needed, gpu::event e) {
    {
      const std::lock_guard hold(mutex_);
      auto& pending = entries_[key];
      pending.needed = needed;
      pending.expected = true;
      pending.waiting = e;
      if (pending.count < needed) return;
      entries_.erase(key);
    }
    e.fire();
  }
  void arrived(arrival_key key) {
    gpu::event e;
    {
      const std::lock_guard hold(mutex_);
      auto& pending = entries_[key];
      ++pending.count;
      if (!pending.expected || pending.count < pending.needed) return;
      e = pending.waiting;
      entries_.erase(key);
    }
    e.fire();
  }

private:
  struct entry {
    std::uint32_t count = 0, needed = 0;
    bool expected = false;
    gpu::event waiting;
  };
  std::mutex mutex_;
  std::map<arrival_key, entry> entries_;
};

} // namespace quadrant::actors
