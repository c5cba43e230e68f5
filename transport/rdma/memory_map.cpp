#include "transport/rdma/memory_map.hpp"

namespace quadrant::transport::rdma {

result<void> memory_map::add(std::uint64_t key, std::span<std::byte> memory) {
  if (memory.empty()) return {};
  QUADRANT_TRY(auto known, registered_memory::make(device_, memory));
  const std::lock_guard hold(mutex_);
  by_key_.emplace(key, std::make_shared<const registered_memory>(std::move(known)));
  return {};
}

void memory_map::remove(std::uint64_t key) {
  std::shared_ptr<const registered_memory> gone; // let go of without the lock: the device takes its time
  const std::lock_guard hold(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    gone = std::move(found->second);
    by_key_.erase(found);
  }
}

std::shared_ptr<const registered_memory> memory_map::find(std::span<const std::byte> bytes) const {
  const std::lock_guard hold(mutex_);
  for (const auto& [key, region] : by_key_) {
    const auto memory = region->memory();
    if (bytes.data() >= memory.data() && bytes.data() + bytes.size() <= memory.data() + memory.size()) return region;
  }
  return nullptr;
}

} // namespace quadrant::transport::rdma
