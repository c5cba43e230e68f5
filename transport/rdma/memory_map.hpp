// transport/rdma/memory_map.hpp: the registered memory of an endpoint, by address: what the device may write and read
// without a copy.
// Threads any
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "transport/rdma/device.hpp"

namespace quadrant::transport::rdma {

class memory_map {
public:
  explicit memory_map(std::shared_ptr<device> device) : device_(std::move(device)) {}

  /// Locks the memory. Errors  errc::unavailable: it goes through staging then
  result<void> add(std::uint64_t key, std::span<std::byte> memory);
  /// Whoever still uses what `find` gave keeps it known to the device until then.
  void remove(std::uint64_t key);
  /// What holds all of these bytes; null where nothing does. Looks at all: an endpoint has some dozen.
  [[nodiscard]] std::shared_ptr<const registered_memory> find(std::span<const std::byte> bytes) const;

  std::atomic<std::uint64_t> bytes_placed{0}; ///< that peers have written straight to their place here

private:
  std::shared_ptr<device> device_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<const registered_memory>> by_key_;
};

} // namespace quadrant::transport::rdma
