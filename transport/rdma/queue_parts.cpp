#include "transport/rdma/queue_parts.hpp"

#include <algorithm>

namespace quadrant::transport::rdma {

upgrade_offer encode(const offered& o) {
  upgrade_offer bytes{};
  auto to = std::ranges::copy(o.pair, bytes.begin()).out;
  const auto put = [&](std::uint64_t value, int n) {
    for (int i = 0; i < n; ++i) *to++ = std::byte(value >> (8 * i));
  };
  put(o.address, 8), put(o.key, 4), put(o.bytes, 4);
  return bytes;
}

offered decode_offer(const upgrade_offer& bytes) {
  offered o;
  std::copy_n(bytes.begin(), o.pair.size(), o.pair.begin());
  const auto* from = bytes.data() + o.pair.size();
  const auto get = [&](int n) {
    std::uint64_t value = 0;
    for (int i = 0; i < n; ++i) value |= std::uint64_t(*from++) << (8 * i);
    return value;
  };
  o.address = get(8), o.key = std::uint32_t(get(4)), o.bytes = std::uint32_t(get(4));
  return o;
}

result<queue_parts> queue_parts::make(const std::shared_ptr<device>& device, std::shared_ptr<memory_map> known) {
  queue_parts p{.known = std::move(known), .inbox_region = {}, .outbox_region = {}, .pair = {}, .theirs = {}};
  QUADRANT_TRY(p.pair, queue_pair::make(
                           device, {.writes = most_received + most_direct, .receives = most_received, .pieces = 1}));
  QUADRANT_TRY(p.inbox_region, registered_memory::make(device, p.inbox));
  QUADRANT_TRY(p.outbox_region, registered_memory::make(device, p.outbox));
  return p;
}

upgrade_offer queue_parts::offer() const {
  return encode({.pair = encode(pair->address()),
                 .address = reinterpret_cast<std::uint64_t>(inbox.data()),
                 .key = inbox_region->rkey(),
                 .bytes = ring_bytes});
}

result<void> queue_parts::connect(const upgrade_offer& offer_of_theirs) {
  theirs = decode_offer(offer_of_theirs);
  if (theirs.bytes != ring_bytes) return {errc::corrupt, "an RDMA ring of another size"};
  QUADRANT_TRY(const auto peer, decode_queue_pair_address(theirs.pair));
  QUADRANT_TRY_VOID(pair->connect(peer));
  for (std::uint32_t i = 0; i < most_received; ++i)
    if (!pair->post_receive(0)) return {errc::unavailable, "the RDMA device takes no receives"};
  return {};
}

} // namespace quadrant::transport::rdma
