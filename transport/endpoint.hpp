// transport/endpoint.hpp: the tensor RPC. Bytes go straight from the sender's memory to the place the receiver named,
// and a small message is delivered when they have arrived.
//
//   receiver: register_memory ─▶ remote_span ─┐ (told to the sender in a control message)
//   sender:   submit(peer, slices + message) ◀┘ ─▶ bytes in place ─▶ inbox handler(message) ─▶ completion at the sender
//
// A transfer has exactly one terminal state: its completion runs once, with success after the peer has taken the
// message, or with one of
//   peer_lost         the peer is gone, cannot be reached, or another process listens at its place now
//   deadline          its timeout passed; whether the peer has taken it is not known
//   cancelled         it was cancelled, or this endpoint is being destroyed
//   invalid_argument  wrong key, out of bounds, past a limit; the receiver's handler threw; the peer has another token
//                     or other numerics
//   not_found         the peer has no such inbox
//   corrupt           the checksum is wrong, or the peer broke the frame format
// Its source memory belongs to the transport until then. No order holds between transfers but where it is asked for. Where
// a connection breaks and another one is left, what it carried goes again, within its deadline. A refused transfer costs
// only itself, though some of its bytes may have been written; bytes that break the frame format cost the
// peer its connection, and nobody else anything.
// Threads any thread may call, holding no lock; handlers and completions run on a transport thread, or on the
//         submitting one where the peer is in this process; they must be short, never block and not throw. They may
//         submit, register, deregister and drop peers.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/result.hpp"

namespace quadrant::transport {
namespace stream {
class connection_hook;
}

/// Names `bytes` of registered memory at another endpoint. The key is random and dies with the registration.
struct remote_span {
  std::uint64_t key = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// A place that takes messages: one of an endpoint's inboxes.
struct address {
  std::uint64_t endpoint = 0; ///< random id of the endpoint: one a process
  std::string host;           ///< where its listener is; not used when `endpoint` is this one
  std::uint16_t port = 0;
  std::uint32_t inbox = 0;
};

enum class traffic : std::uint8_t { control, dispatch, kv }; ///< earlier ones overtake later ones in a sender's queue

struct slice {
  std::span<const std::byte> from;
  remote_span to; ///< to.bytes == from.size()
};

struct transfer {
  std::vector<slice> slices;      ///< may be empty: a message alone
  std::vector<std::byte> message; ///< at most max_message_bytes
  traffic kind = traffic::control;
  std::chrono::milliseconds timeout{30'000};
  bool checksum = false; ///< xxh3 over the slices, checked before the message is delivered
  bool ordered = false;  ///< delivered after all ordered ones of its kind that were submitted to that inbox before
};

inline constexpr std::size_t max_message_bytes = 1 << 20;
inline constexpr std::size_t max_slices = 4096;
inline constexpr std::uint64_t max_transfer_bytes = std::uint64_t{1} << 32; ///< of all slices of one transfer

using completion = std::function<void(result<void>)>;
using inbox_handler = std::function<void(std::span<const std::byte> message)>;

struct endpoint_books {
  std::uint64_t bytes_sent = 0, bytes_received = 0; ///< of slices: what was written out, what was put in place
  std::uint64_t bytes_placed = 0;        ///< of bytes_received: by the peer's RDMA device, straight to their place
  std::uint64_t transfers_in_flight = 0; ///< to other processes
  std::uint64_t regions = 0;
  std::uint64_t peers = 0;                             ///< connections, out and in
  std::uint64_t over_shared_memory = 0, over_rdma = 0; ///< of these; the others are TCP
  std::uint64_t credits_out = 0;                       ///< of peers: transfers begun and not ended
};

struct endpoint_options {
  std::string host = "127.0.0.1"; ///< the wire is unauthenticated but for the token: loopback unless told otherwise
  std::uint16_t port = 0;         ///< 0: any
  bool listen = true;             ///< false: in-process only
  std::string cluster_token{};    ///< both sides must name the same
  std::uint64_t numerics_id = 0;  ///< likewise: KV of other numerics must never mix in
  std::chrono::milliseconds handshake_timeout{5'000}; ///< for a peer to prove itself
  std::chrono::milliseconds stall_timeout{30'000};    ///< for more bytes of a transfer that has begun to arrive
  std::chrono::microseconds busy_poll{50}; ///< for which the transport thread looks on after an event before it sleeps
  bool rdma = true;                        ///< where both machines have an RDMA device; else TCP
  bool shared_memory = true;               ///< between processes of this machine; else TCP there too
  std::size_t connections = 2;  ///< to a peer, at most: with more than one, urgent traffic never waits behind KV
  std::uint32_t credits = 1024; ///< that each peer gets: transfers that it may have begun and not been answered
  std::shared_ptr<stream::connection_hook>
      hook{}; ///< sees every connection: to inject faults (stream/faulty_stream.hpp)
};

class endpoint {
public:
  /// Ends everything in flight with errc::cancelled. Not from a handler or completion, and with no other call under
  /// way.
  virtual ~endpoint() = default;

  [[nodiscard]] virtual address self() const = 0; ///< with inbox 0

  /// The memory must stay valid until `deregister` returns. With an RDMA device it is locked, which takes a while.
  /// owner: what refusals call it, as "KV of decode.0".
  virtual remote_span register_memory(std::span<std::byte> memory, std::string owner = "memory") = 0;
  /// After it returns nothing writes there any more; a transfer that was arriving there is refused, or, straight to its
  /// place over RDMA, loses its connection. Once a key.
  virtual void deregister(std::uint64_t key) = 0;

  virtual std::uint32_t open_inbox(inbox_handler handler) = 0;
  /// After it returns the handler is not running, never runs again, and is destroyed. Not from the handler itself.
  virtual void close_inbox(std::uint32_t inbox) = 0;

  /// `done` may be empty. Returns what `cancel` takes.
  virtual std::uint64_t submit(const address& to, transfer what, completion done) = 0;
  /// Ends it with errc::cancelled, unless it has ended: soon, but not before its memory is read no more. Whether the peer
  /// takes it, where it has begun, is not known.
  virtual void cancel(std::uint64_t transfer) = 0;

  /// Fails everything in flight to that endpoint with errc::peer_lost and takes nothing more from it; a later submit
  /// connects anew.
  virtual void drop_peer(std::uint64_t endpoint_id) = 0;

  [[nodiscard]] virtual endpoint_books books() const = 0;
};

/// The endpoint of a process: loopback for its own inboxes, TCP streams for each other endpoint.
/// Errors  errc::invalid_argument: the host or port cannot be bound (the message says why).
result<std::unique_ptr<endpoint>> make_endpoint(endpoint_options options);

} // namespace quadrant::transport
