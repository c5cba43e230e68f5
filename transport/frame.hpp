// transport/frame.hpp: the bytes on a TCP stream, as pure functions. All integers little-endian.
//
//   listener ─▶ challenge[32]                                random; new for each connection
//   dialler  ─▶ hello    magic u32 | version u32 | dialler u64 | listener u64 | numerics u64
//                        | challenge[32] | proof[32] | offer[48]
//   listener ─▶ welcome  magic u32 | verdict u32 | credits u32 | 0 u32 | proof[32] | offer[48]
//                        verdict 0: come in; else why not, and the stream ends
//                        proof: HMAC-SHA256(token, side u64 | dialler u64 | listener u64 | numerics u64 | both
//                        challenges | both offers): each side proves to the other that it holds the token, and that it is the
//                        endpoint that was meant
//                        credits: how many transfers may be begun and not yet answered
//                        offer: of another way to go on (stream/upgrade.hpp), taken where both make one; else zeros
//   dialler  ─▶ piece    head u32=1 | inbox u32 | id u64 | message bytes u32 | slices u32 | flags u32 | piece u32
//                        | pieces u32 | 0 u32 | floor u64 | after u64 | checksum u64, then slices × (key u64 | offset
//                        u64 | bytes u64), the message, the bytes of each slice
//                        a transfer is all its pieces, over any streams of the two; piece 0 has the message
//                        ids: of a dialler's transfers to this listener, in the order in which they begin; below the
//                        floor all have ended. after: the transfer that must be delivered before; 0: none
//   dialler  ─▶ ask      head u32=3 | forget u32 | id u64 | floor u64 | after u64
//                        forget 0: answer that again, if it has ended; 1: nobody waits for it, do not take the rest
//   either   ─▶ ack      head u32=2 | code u32 | id u64 | text bytes u32 | 0 u32, then the text
//                        code 0: done, else errc + 1. The listener answers on this stream, or on its own one to the
//                        dialler: then between transfers
//
// Errors  errc::corrupt with what was wrong: the connection is not worth keeping
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::transport {

inline constexpr std::uint32_t frame_magic = 0x54524451; // "QDRT"
inline constexpr std::uint32_t frame_version = 5;
inline constexpr std::size_t challenge_bytes = 32, proof_bytes = 32, upgrade_offer_bytes = 48;
inline constexpr std::size_t hello_bytes = 32 + challenge_bytes + proof_bytes + upgrade_offer_bytes,
                             welcome_bytes = 16 + proof_bytes + upgrade_offer_bytes;
inline constexpr std::size_t transfer_head_bytes = 64, slice_entry_bytes = 24, ack_head_bytes = 24, ask_bytes = 32,
                             max_ack_text = 512;
inline constexpr std::uint32_t max_pieces = 1 << 16;

using challenge = std::array<std::byte, challenge_bytes>;
using proof = std::array<std::byte, proof_bytes>;
using upgrade_offer = std::array<std::byte, upgrade_offer_bytes>;

challenge random_challenge();

/// What both sides of a handshake know, and prove each other the knowledge of.
struct meeting {
  std::uint64_t dialler = 0, listener = 0, numerics = 0;
  challenge by_listener{}, by_dialler{};
  upgrade_offer offer_of_dialler{}, offer_of_listener{}; ///< the listener's is not known to the dialler's proof
};
enum class side : std::uint8_t { dialler = 1, listener = 2 };
proof prove(std::string_view token, side who, const meeting& about);
/// Compares in constant time.
bool same(const proof& a, const proof& b) noexcept;

struct hello {
  std::uint64_t dialler = 0, listener = 0, numerics = 0;
  challenge asked{};
  proof answer{};
  upgrade_offer offer{};
};
std::vector<std::byte> encode(const hello& h);
result<hello> decode_hello(std::span<const std::byte, hello_bytes> bytes);

enum class verdict : std::uint32_t { welcome, token, numerics, endpoint }; ///< the others: what differs
struct welcome {
  verdict outcome = verdict::welcome;
  std::uint32_t credits = 1024;
  proof answer{};
  upgrade_offer offer{};
};
std::vector<std::byte> encode(const welcome& w);
result<welcome> decode_welcome(std::span<const std::byte, welcome_bytes> bytes);

/// Of a piece of a transfer, often the only one.
struct transfer_head {
  std::uint32_t inbox = 0;
  std::uint64_t id = 0;
  std::uint32_t message_bytes = 0, num_slices = 0;
  bool checksum = false;
  std::uint32_t piece = 0, pieces = 1;
  std::uint64_t floor = 0, after = 0;
  std::uint64_t hash = 0; ///< of the bytes of this piece
};
/// Head and slice table.
std::vector<std::byte> encode(const transfer_head& head, std::span<const slice> slices);
result<transfer_head> decode_transfer(std::span<const std::byte, transfer_head_bytes> bytes);
/// Errors  also if the slices together pass max_transfer_bytes
result<std::vector<remote_span>> decode_slices(std::span<const std::byte> bytes);

struct ack {
  std::uint64_t id = 0;
  std::uint32_t code = 0, text_bytes = 0;
};
std::vector<std::byte> encode(const ack& a, std::string_view text);
struct ask {
  std::uint64_t id = 0, floor = 0, after = 0; ///< after: of the transfer, where it is to be forgotten
  bool forget = false;
};
std::vector<std::byte> encode(const ask& a);
result<ask> decode_ask(std::span<const std::byte, ask_bytes> bytes);

/// What begins here, of at least 4 bytes: a piece, an acknowledgement, an ask, or nothing known.
enum class frame_kind : std::uint32_t { piece = 1, ack = 2, ask = 3 };
frame_kind kind_of(std::span<const std::byte> bytes);
result<ack> decode_ack(std::span<const std::byte, ack_head_bytes> bytes);

} // namespace quadrant::transport
