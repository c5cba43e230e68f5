// transport/rdma/queue_pair.hpp: a reliable connection between two processes: writes go out, immediate values come in.
//
//   make ─▶ address() ── told to the peer over another way ──▶ connect(theirs) ─▶ connected ─▶ broken
//   post_write ─▶ [device] ─▶ poll: sent, once          the peer: post_receive ─▶ [device] ─▶ poll: received, once
//
// Writes of one queue pair arrive in order; the peer receives an immediate value when the bytes of its write, and of all
// before it, are in place. The first failure breaks the connection: all that is still posted comes back with it.
// Errors  of a completion: invalid_argument: the peer's device refused key or bounds; peer_lost: the peer answers no more,
//         or the connection broke before
// Threads one owner
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "config/result.hpp"
#include "transport/rdma/device.hpp"

struct ibv_comp_channel;
struct ibv_cq;
struct ibv_qp;

namespace quadrant::transport::rdma {

/// What a peer needs to know of a queue pair, as bytes on a wire: number u32 | first packet u32 | lid u16 | gid[16].
struct queue_pair_address {
  std::uint32_t number = 0, first_packet = 0; ///< 24 bits each
  std::uint16_t lid = 0;                      ///< InfiniBand only
  gid port{};
};
inline constexpr std::size_t queue_pair_address_bytes = 26;
inline constexpr std::uint64_t most_write_bytes = std::uint64_t{1} << 30; ///< of one write: every device takes as many
std::array<std::byte, queue_pair_address_bytes> encode(const queue_pair_address& a);
/// Errors  errc::corrupt: numbers of more than 24 bits
result<queue_pair_address> decode_queue_pair_address(std::span<const std::byte, queue_pair_address_bytes> bytes);

/// Bytes of registered memory here.
struct local_piece {
  std::span<const std::byte> bytes;
  std::uint32_t lkey = 0;
};
/// A place of registered memory at the peer.
struct remote_place {
  std::uint64_t address = 0;
  std::uint32_t rkey = 0;
};

struct completed {
  std::uint64_t id = 0;    ///< as it was posted
  bool received = false;   ///< a receive, not a write
  std::uint32_t value = 0; ///< received: the immediate value
  std::uint32_t bytes = 0; ///< received: how many its write put in place
  result<void> outcome;
};

class queue_pair {
public:
  struct limits {
    std::uint32_t writes = 64, receives = 64, pieces = 16; ///< posted at a time; pieces of a write
  };
  static result<std::unique_ptr<queue_pair>> make(std::shared_ptr<device> device, const limits& most);
  ~queue_pair();
  queue_pair(const queue_pair&) = delete;
  queue_pair& operator=(const queue_pair&) = delete;

  [[nodiscard]] const queue_pair_address& address() const noexcept { return self_; }
  /// Errors  errc::invalid_argument: the device refuses that peer
  result<void> connect(const queue_pair_address& peer);

  /// Pieces go to one place, in a row. value: what the peer receives when they lie there; it takes one posted receive.
  /// False where as many writes are posted as may be, or the device takes no more.
  [[nodiscard]] bool post_write(std::uint64_t id, std::span<const local_piece> from, remote_place to,
                                std::optional<std::uint32_t> value);
  /// Room for one immediate value. False likewise.
  [[nodiscard]] bool post_receive(std::uint64_t id);

  /// What has ended since, oldest first; never waits.
  std::vector<completed> poll();
  /// Readable after arm() when there may be something to poll; drain() before the next arm().
  [[nodiscard]] int fd() const noexcept;
  /// Poll once more after this: what ended before is not told.
  void arm();
  void drain();

private:
  queue_pair() = default;

  std::shared_ptr<device> device_;
  limits most_;
  ibv_comp_channel* channel_ = nullptr;
  ibv_cq* done_ = nullptr;
  ibv_qp* pair_ = nullptr;
  queue_pair_address self_;
  std::uint32_t writes_ = 0, receives_ = 0; ///< posted
};

} // namespace quadrant::transport::rdma
