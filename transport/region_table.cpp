#include "transport/region_table.hpp"

#include "config/random.hpp"

namespace quadrant::transport {

remote_span region_table::add(std::span<std::byte> memory, std::string owner) {
  const std::lock_guard hold(mutex_);
  auto key = random_u64();
  while (key == 0 || regions_.contains(key)) key = random_u64();
  regions_.emplace(key, region{.memory = memory, .owner = std::move(owner)});
  return {key, 0, memory.size()};
}

void region_table::remove(std::uint64_t key, const std::function<void()>& evict) {
  std::unique_lock hold(mutex_);
  const auto found = regions_.find(key);
  if (found == regions_.end() || std::exchange(found->second.leaving, true)) return; // the other remover waits
  if (found->second.pins > 0) {
    hold.unlock();
    evict();
    hold.lock();
  }
  unpinned_.wait(hold, [&] { return found->second.pins == 0; });
  regions_.erase(found);
}

result<std::span<std::byte>> region_table::pin(const remote_span& where) {
  const std::lock_guard hold(mutex_);
  const auto found = regions_.find(where.key);
  if (found == regions_.end() || found->second.leaving) return {errc::invalid_argument, "unknown memory key"};
  auto& r = found->second;
  if (where.offset > r.memory.size() || where.bytes > r.memory.size() - where.offset)
    return {errc::invalid_argument, "slice lies outside " + r.owner};
  ++r.pins;
  return r.memory.subspan(where.offset, where.bytes);
}

void region_table::unpin(std::uint64_t key) {
  const std::lock_guard hold(mutex_);
  auto& r = regions_.at(key);
  if (--r.pins == 0 && r.leaving) unpinned_.notify_all();
}

std::string region_table::owner_of(std::uint64_t key) const {
  const std::lock_guard hold(mutex_);
  const auto found = regions_.find(key);
  return found == regions_.end() ? "" : found->second.owner;
}

std::size_t region_table::size() const {
  const std::lock_guard hold(mutex_);
  return regions_.size();
}

} // namespace quadrant::transport
