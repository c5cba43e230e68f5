#include "transport/frame.hpp"

#include <cstring>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace quadrant::transport {
namespace {

template <class Int>
void put(std::vector<std::byte>& to, Int value) {
  for (std::size_t i = 0; i < sizeof(Int); ++i) to.push_back(std::byte(std::uint64_t(value) >> (8 * i)));
}
template <class Int>
Int get(std::span<const std::byte> from, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Int); ++i) value |= std::uint64_t(from[at + i]) << (8 * i);
  return Int(value);
}

failure broken(const char* what) { return {errc::corrupt, what}; }

} // namespace

proof prove(std::string_view token, const challenge& asked, std::uint64_t endpoint_id) {
  std::vector<std::byte> text(asked.begin(), asked.end());
  put(text, endpoint_id);
  proof answer{};
  unsigned size = 0;
  QCHECK(HMAC(EVP_sha256(), token.data(), int(token.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(),
              reinterpret_cast<unsigned char*>(answer.data()), &size) != nullptr);
  return answer;
}

std::vector<std::byte> encode(const hello& h) {
  std::vector<std::byte> bytes;
  put(bytes, frame_magic);
  put(bytes, frame_version);
  put(bytes, h.endpoint);
  put(bytes, h.numerics);
  bytes.insert(bytes.end(), h.answer.begin(), h.answer.end());
  return bytes;
}

result<hello> decode_hello(std::span<const std::byte, hello_bytes> bytes) {
  if (get<std::uint32_t>(bytes, 0) != frame_magic) return broken("not a Quadrant peer");
  if (get<std::uint32_t>(bytes, 4) != frame_version) return broken("a peer of another version");
  hello h{.endpoint = get<std::uint64_t>(bytes, 8), .numerics = get<std::uint64_t>(bytes, 16), .answer = {}};
  std::memcpy(h.answer.data(), bytes.data() + 24, proof_bytes);
  return h;
}

std::vector<std::byte> encode(const transfer_head& head, std::span<const slice> slices) {
  std::vector<std::byte> bytes;
  bytes.reserve(transfer_head_bytes + slices.size() * slice_entry_bytes);
  put(bytes, std::uint32_t{1});
  put(bytes, head.inbox);
  put(bytes, head.id);
  put(bytes, head.message_bytes);
  put(bytes, head.num_slices);
  put(bytes, std::uint32_t(head.checksum));
  put(bytes, std::uint32_t{0});
  put(bytes, head.hash);
  for (const auto& s : slices) {
    put(bytes, s.to.key);
    put(bytes, s.to.offset);
    put(bytes, s.to.bytes);
  }
  return bytes;
}

result<transfer_head> decode_transfer(std::span<const std::byte, transfer_head_bytes> bytes) {
  if (get<std::uint32_t>(bytes, 0) != 1) return broken("expected a transfer");
  transfer_head head{.inbox = get<std::uint32_t>(bytes, 4),
                     .id = get<std::uint64_t>(bytes, 8),
                     .message_bytes = get<std::uint32_t>(bytes, 16),
                     .num_slices = get<std::uint32_t>(bytes, 20),
                     .checksum = get<std::uint32_t>(bytes, 24) == 1,
                     .hash = get<std::uint64_t>(bytes, 32)};
  if (head.message_bytes > max_message_bytes) return broken("a message past the limit");
  if (head.num_slices > max_slices) return broken("more slices than the limit");
  if (get<std::uint32_t>(bytes, 24) > 1 || get<std::uint32_t>(bytes, 28) != 0) return broken("unknown flags");
  return head;
}

result<std::vector<remote_span>> decode_slices(std::span<const std::byte> bytes) {
  std::vector<remote_span> slices;
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + slice_entry_bytes <= bytes.size(); at += slice_entry_bytes) {
    slices.push_back({get<std::uint64_t>(bytes, at), get<std::uint64_t>(bytes, at + 8), get<std::uint64_t>(bytes, at + 16)});
    if (slices.back().bytes > max_transfer_bytes || (sum += slices.back().bytes) > max_transfer_bytes) return broken("a transfer past the limit");
  }
  return slices;
}

std::vector<std::byte> encode(const ack& a, std::string_view text) {
  text = text.substr(0, max_ack_text);
  std::vector<std::byte> bytes;
  put(bytes, std::uint32_t{2});
  put(bytes, a.code);
  put(bytes, a.id);
  put(bytes, std::uint32_t(text.size()));
  put(bytes, std::uint32_t{0});
  for (const char c : text) bytes.push_back(std::byte(c));
  return bytes;
}

result<ack> decode_ack(std::span<const std::byte, ack_head_bytes> bytes) {
  if (get<std::uint32_t>(bytes, 0) != 2) return broken("expected an acknowledgement");
  ack a{.id = get<std::uint64_t>(bytes, 8), .code = get<std::uint32_t>(bytes, 4), .text_bytes = get<std::uint32_t>(bytes, 16)};
  if (a.text_bytes > max_ack_text || a.code > std::uint32_t(errc::numeric) + 1) return broken("a malformed acknowledgement");
  return a;
}

} // namespace quadrant::transport
