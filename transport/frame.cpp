#include "transport/frame.hpp"

#include <algorithm>
#include <cstring>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "config/random.hpp"

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

challenge random_challenge() {
  challenge c{};
  for (std::size_t i = 0; i < c.size(); i += sizeof(std::uint64_t)) {
    const auto word = random_u64();
    std::memcpy(c.data() + i, &word, sizeof word);
  }
  return c;
}

proof prove(std::string_view token, side who, const meeting& about) {
  std::vector<std::byte> text;
  put(text, std::uint64_t(who));
  put(text, about.dialler);
  put(text, about.listener);
  put(text, about.numerics);
  text.insert(text.end(), about.by_listener.begin(), about.by_listener.end());
  text.insert(text.end(), about.by_dialler.begin(), about.by_dialler.end());
  text.insert(text.end(), about.offer_of_dialler.begin(), about.offer_of_dialler.end());
  text.insert(text.end(), about.offer_of_listener.begin(), about.offer_of_listener.end());
  proof answer{};
  unsigned size = 0;
  QCHECK(HMAC(EVP_sha256(), token.data(), int(token.size()), reinterpret_cast<const unsigned char*>(text.data()),
              text.size(), reinterpret_cast<unsigned char*>(answer.data()), &size) != nullptr);
  return answer;
}

bool same(const proof& a, const proof& b) noexcept { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

std::vector<std::byte> encode(const hello& h) {
  std::vector<std::byte> bytes;
  put(bytes, frame_magic);
  put(bytes, frame_version);
  put(bytes, h.dialler);
  put(bytes, h.listener);
  put(bytes, h.numerics);
  bytes.insert(bytes.end(), h.asked.begin(), h.asked.end());
  bytes.insert(bytes.end(), h.answer.begin(), h.answer.end());
  bytes.insert(bytes.end(), h.offer.begin(), h.offer.end());
  return bytes;
}

result<hello> decode_hello(std::span<const std::byte, hello_bytes> bytes) {
  if (get<std::uint32_t>(bytes, 0) != frame_magic) return broken("not a Quadrant peer");
  if (get<std::uint32_t>(bytes, 4) != frame_version) return broken("a peer of another version");
  hello h{.dialler = get<std::uint64_t>(bytes, 8),
          .listener = get<std::uint64_t>(bytes, 16),
          .numerics = get<std::uint64_t>(bytes, 24)};
  std::memcpy(h.asked.data(), bytes.data() + 32, challenge_bytes);
  std::memcpy(h.answer.data(), bytes.data() + 32 + challenge_bytes, proof_bytes);
  std::memcpy(h.offer.data(), bytes.data() + 32 + challenge_bytes + proof_bytes, upgrade_offer_bytes);
  return h;
}

std::vector<std::byte> encode(const welcome& w) {
  std::vector<std::byte> bytes;
  put(bytes, frame_magic);
  put(bytes, std::uint32_t(w.outcome));
  put(bytes, w.credits);
  put(bytes, std::uint32_t{0});
  bytes.insert(bytes.end(), w.answer.begin(), w.answer.end());
  bytes.insert(bytes.end(), w.offer.begin(), w.offer.end());
  return bytes;
}

result<welcome> decode_welcome(std::span<const std::byte, welcome_bytes> bytes) {
  if (get<std::uint32_t>(bytes, 0) != frame_magic) return broken("not a Quadrant peer");
  if (get<std::uint32_t>(bytes, 4) > std::uint32_t(verdict::endpoint)) return broken("an unknown answer to a hello");
  welcome w{.outcome = verdict(get<std::uint32_t>(bytes, 4)), .credits = get<std::uint32_t>(bytes, 8)};
  if (w.credits == 0 || get<std::uint32_t>(bytes, 12) != 0) return broken("a malformed answer to a hello");
  std::memcpy(w.answer.data(), bytes.data() + 16, proof_bytes);
  std::memcpy(w.offer.data(), bytes.data() + 16 + proof_bytes, upgrade_offer_bytes);
  return w;
}

std::vector<std::byte> encode(const transfer_head& head, std::span<const slice> slices) {
  std::vector<std::byte> bytes;
  bytes.reserve(transfer_head_bytes + slices.size() * slice_entry_bytes);
  put(bytes, std::uint32_t(frame_kind::piece));
  put(bytes, head.inbox);
  put(bytes, head.id);
  put(bytes, head.message_bytes);
  put(bytes, head.num_slices);
  put(bytes, std::uint32_t(head.checksum));
  put(bytes, head.piece);
  put(bytes, head.pieces);
  put(bytes, std::uint32_t{0});
  put(bytes, head.floor);
  put(bytes, head.after);
  put(bytes, head.hash);
  for (const auto& s : slices) {
    put(bytes, s.to.key);
    put(bytes, s.to.offset);
    put(bytes, s.to.bytes);
  }
  return bytes;
}

result<transfer_head> decode_transfer(std::span<const std::byte, transfer_head_bytes> bytes) {
  if (kind_of(bytes) != frame_kind::piece) return broken("expected a transfer");
  transfer_head head{.inbox = get<std::uint32_t>(bytes, 4),
                     .id = get<std::uint64_t>(bytes, 8),
                     .message_bytes = get<std::uint32_t>(bytes, 16),
                     .num_slices = get<std::uint32_t>(bytes, 20),
                     .checksum = get<std::uint32_t>(bytes, 24) == 1,
                     .piece = get<std::uint32_t>(bytes, 28),
                     .pieces = get<std::uint32_t>(bytes, 32),
                     .floor = get<std::uint64_t>(bytes, 40),
                     .after = get<std::uint64_t>(bytes, 48),
                     .hash = get<std::uint64_t>(bytes, 56)};
  if (head.message_bytes > max_message_bytes) return broken("a message past the limit");
  if (head.num_slices > max_slices) return broken("more slices than the limit");
  if (get<std::uint32_t>(bytes, 24) > 1 || get<std::uint32_t>(bytes, 36) != 0) return broken("unknown flags");
  if (head.pieces > max_pieces || head.piece >= head.pieces) return broken("a piece of no transfer");
  if (head.piece > 0 && head.message_bytes > 0) return broken("a message in a later piece");
  return head;
}

result<std::vector<remote_span>> decode_slices(std::span<const std::byte> bytes) {
  std::vector<remote_span> slices;
  slices.reserve(bytes.size() / slice_entry_bytes);
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + slice_entry_bytes <= bytes.size(); at += slice_entry_bytes) {
    slices.push_back(
        {get<std::uint64_t>(bytes, at), get<std::uint64_t>(bytes, at + 8), get<std::uint64_t>(bytes, at + 16)});
    sum += std::min(slices.back().bytes, max_transfer_bytes + 1); // cannot wrap around
    if (sum > max_transfer_bytes) return broken("a transfer past the limit");
  }
  return slices;
}

std::vector<std::byte> encode(const ack& a, std::string_view text) {
  text = text.substr(0, max_ack_text);
  std::vector<std::byte> bytes;
  put(bytes, std::uint32_t(frame_kind::ack));
  put(bytes, a.code);
  put(bytes, a.id);
  put(bytes, std::uint32_t(text.size()));
  put(bytes, std::uint32_t{0});
  for (const char c : text) bytes.push_back(std::byte(c));
  return bytes;
}

frame_kind kind_of(std::span<const std::byte> bytes) { return frame_kind(get<std::uint32_t>(bytes, 0)); }

std::vector<std::byte> encode(const ask& a) {
  std::vector<std::byte> bytes;
  put(bytes, std::uint32_t(frame_kind::ask));
  put(bytes, std::uint32_t(a.forget));
  put(bytes, a.id);
  put(bytes, a.floor);
  put(bytes, a.after);
  return bytes;
}

result<ask> decode_ask(std::span<const std::byte, ask_bytes> bytes) {
  if (kind_of(bytes) != frame_kind::ask || get<std::uint32_t>(bytes, 4) > 1) return broken("a malformed question");
  return ask{.id = get<std::uint64_t>(bytes, 8),
             .floor = get<std::uint64_t>(bytes, 16),
             .after = get<std::uint64_t>(bytes, 24),
             .forget = get<std::uint32_t>(bytes, 4) == 1};
}

result<ack> decode_ack(std::span<const std::byte, ack_head_bytes> bytes) {
  if (kind_of(bytes) != frame_kind::ack) return broken("expected an acknowledgement");
  ack a{.id = get<std::uint64_t>(bytes, 8),
        .code = get<std::uint32_t>(bytes, 4),
        .text_bytes = get<std::uint32_t>(bytes, 16)};
  if (a.text_bytes > max_ack_text || a.code > std::uint32_t(errc::numeric) + 1 || get<std::uint32_t>(bytes, 20) != 0)
    return broken("a malformed acknowledgement");
  return a;
}

} // namespace quadrant::transport
