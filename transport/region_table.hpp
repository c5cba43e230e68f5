// transport/region_table.hpp: registered memory by key. A key is 64 random bits: it cannot be guessed, and dies with
// its registration.
//
//   add ─▶ registered ─▶ remove: leaving (no new pin) ─▶ evict asks the writers to let go ─▶ no pin left ─▶ gone
// Threads any
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>

#include "config/result.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::transport {

class region_table {
public:
  remote_span add(std::span<std::byte> memory, std::string owner);
  /// Waits until nobody writes there. Where somebody does, `evict` is called first, holding no lock; it must make the
  /// pins go away soon.
  void remove(std::uint64_t key, const std::function<void()>& evict);
  /// The bytes that `where` names, held in place until unpin.
  /// Errors  errc::invalid_argument: unknown key, or outside the region
  result<std::span<std::byte>> pin(const remote_span& where);
  void unpin(std::uint64_t key);
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::string owner_of(std::uint64_t key) const; ///< empty: unknown key

private:
  struct region {
    std::span<std::byte> memory;
    std::string owner;
    std::uint32_t pins = 0;
    bool leaving = false;
  };
  mutable std::mutex mutex_;
  std::condition_variable unpinned_;
  std::map<std::uint64_t, region> regions_;
};

} // namespace quadrant::transport
