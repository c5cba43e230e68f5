// transport/rdma/queue_parts.hpp: what one end of a connection over RDMA is made of, and how the ends tell each other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "transport/frame.hpp"
#include "transport/rdma/device.hpp"
#include "transport/rdma/memory_map.hpp"
#include "transport/rdma/queue_pair.hpp"

namespace quadrant::transport::rdma {

inline constexpr std::size_t ring_bytes = 256 << 10;
inline constexpr std::size_t most_granted = 16,
                             grant_bytes = 16;     ///< places of a grant; of one: address u64 | bytes u32 | rkey u32
inline constexpr std::uint32_t most_messages = 64; ///< of data, not given back
inline constexpr std::uint32_t many_messages = 16; ///< taken out: they are given back
/// Data, what gives room back, and one each of what a direct write takes: announced, granted, placed.
inline constexpr std::uint32_t most_received = 2 * most_messages + many_messages + 3;
inline constexpr std::uint32_t most_direct = 32; ///< direct writes posted at a time

/// An offer: queue_pair_address[26] | ring address u64 | ring key u32 | ring bytes u32, then zeros. None: all zeros.
struct offered {
  std::array<std::byte, queue_pair_address_bytes> pair{};
  std::uint64_t address = 0;
  std::uint32_t key = 0, bytes = 0;
};
static_assert(queue_pair_address_bytes + 16 <= upgrade_offer_bytes);
upgrade_offer encode(const offered& o);
offered decode_offer(const upgrade_offer& bytes);

/// The other side writes `inbox`, from its `outbox`: a ring, then the places of a grant.
struct queue_parts {
  std::shared_ptr<memory_map> known;
  std::vector<std::byte> inbox = std::vector<std::byte>(ring_bytes + most_granted * grant_bytes);
  std::vector<std::byte> outbox = std::vector<std::byte>(ring_bytes + most_granted * grant_bytes);
  std::optional<registered_memory> inbox_region, outbox_region;
  std::unique_ptr<queue_pair> pair;
  offered theirs;

  /// Errors  errc::unavailable
  static result<queue_parts> make(const std::shared_ptr<device>& device, std::shared_ptr<memory_map> known);
  [[nodiscard]] upgrade_offer offer() const;
  /// Errors  errc::corrupt, errc::invalid_argument, errc::unavailable
  result<void> connect(const upgrade_offer& offer_of_theirs);
};

} // namespace quadrant::transport::rdma
