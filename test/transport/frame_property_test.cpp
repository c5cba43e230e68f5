#include <algorithm>
#include <array>
#include <cstring>

#include "test/support/property.hpp"
#include "transport/frame.hpp"

using namespace quadrant;
using namespace quadrant::transport;
using quadrant::test::property;

namespace {

template <std::size_t N>
std::array<std::byte, N> random_array() {
  const auto bytes = *rc::gen::container<std::vector<std::uint8_t>>(N, rc::gen::arbitrary<std::uint8_t>());
  std::array<std::byte, N> to{};
  std::memcpy(to.data(), bytes.data(), N);
  return to;
}

template <std::size_t N>
std::span<const std::byte, N> first(const std::vector<std::byte>& bytes) {
  RC_ASSERT(bytes.size() >= N);
  return std::span<const std::byte, N>(bytes.data(), N);
}

/// A few bytes of a valid frame changed: far deeper than noise reaches.
void mutate(std::vector<std::byte>& bytes) {
  const auto hits = *rc::gen::inRange(1, 4);
  for (int i = 0; i < hits; ++i)
    bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = std::byte(*rc::gen::arbitrary<std::uint8_t>());
}

transfer_head random_head() {
  const auto pieces = *rc::gen::inRange<std::uint32_t>(1, max_pieces + 1);
  const auto piece = *rc::gen::element<std::uint32_t>(0, pieces - 1);
  return {.inbox = *rc::gen::arbitrary<std::uint32_t>(),
          .id = *rc::gen::arbitrary<std::uint64_t>(),
          .message_bytes = piece > 0 ? 0 : *rc::gen::inRange<std::uint32_t>(0, max_message_bytes + 1),
          .num_slices = *rc::gen::inRange<std::uint32_t>(0, max_slices + 1),
          .checksum = *rc::gen::arbitrary<bool>(),
          .piece = piece,
          .pieces = pieces,
          .floor = *rc::gen::arbitrary<std::uint64_t>(),
          .after = *rc::gen::arbitrary<std::uint64_t>(),
          .hash = *rc::gen::arbitrary<std::uint64_t>()};
}

hello random_hello() {
  return {.dialler = *rc::gen::arbitrary<std::uint64_t>(),
          .listener = *rc::gen::arbitrary<std::uint64_t>(),
          .numerics = *rc::gen::arbitrary<std::uint64_t>(),
          .asked = random_array<challenge_bytes>(),
          .answer = random_array<proof_bytes>()};
}

} // namespace

TEST_CASE("a frame reads back as what was written") {
  property("hello", [] {
    const auto h = random_hello();
    const auto bytes = encode(h);
    RC_ASSERT(bytes.size() == hello_bytes);
    const auto back = decode_hello(first<hello_bytes>(bytes));
    RC_ASSERT(back.ok());
    RC_ASSERT(back->dialler == h.dialler);
    RC_ASSERT(back->listener == h.listener);
    RC_ASSERT(back->numerics == h.numerics);
    RC_ASSERT(back->asked == h.asked);
    RC_ASSERT(back->answer == h.answer);
  });
  property("welcome", [] {
    const welcome w{.outcome = verdict(*rc::gen::inRange(0, 4)),
                    .credits = *rc::gen::inRange<std::uint32_t>(1, 100'000),
                    .answer = random_array<proof_bytes>()};
    const auto bytes = encode(w);
    RC_ASSERT(bytes.size() == welcome_bytes);
    const auto back = decode_welcome(first<welcome_bytes>(bytes));
    RC_ASSERT(back.ok());
    RC_ASSERT((back->outcome == w.outcome));
    RC_ASSERT(back->credits == w.credits);
    RC_ASSERT(back->answer == w.answer);
  });
  property("transfer head and slice table", [] {
    const auto head = random_head();
    std::vector<slice> slices(*rc::gen::inRange<std::size_t>(0, 20));
    for (auto& s : slices)
      s.to = {*rc::gen::arbitrary<std::uint64_t>(), *rc::gen::arbitrary<std::uint64_t>(),
              *rc::gen::inRange<std::uint64_t>(0, 1 << 20)};
    const auto bytes = encode(head, slices);
    const auto back = decode_transfer(first<transfer_head_bytes>(bytes));
    RC_ASSERT(back.ok());
    RC_ASSERT(back->inbox == head.inbox);
    RC_ASSERT(back->id == head.id);
    RC_ASSERT(back->message_bytes == head.message_bytes);
    RC_ASSERT(back->num_slices == head.num_slices);
    RC_ASSERT(back->checksum == head.checksum);
    RC_ASSERT(back->piece == head.piece);
    RC_ASSERT(back->pieces == head.pieces);
    RC_ASSERT(back->floor == head.floor);
    RC_ASSERT(back->after == head.after);
    RC_ASSERT(back->hash == head.hash);
    const auto table = decode_slices(std::span(bytes).subspan(transfer_head_bytes));
    RC_ASSERT(table.ok());
    RC_ASSERT(table->size() == slices.size());
    for (std::size_t i = 0; i < slices.size(); ++i) {
      RC_ASSERT((*table)[i].key == slices[i].to.key);
      RC_ASSERT((*table)[i].offset == slices[i].to.offset);
      RC_ASSERT((*table)[i].bytes == slices[i].to.bytes);
    }
  });
  property("ask", [] {
    const ask a{.id = *rc::gen::arbitrary<std::uint64_t>(),
                .floor = *rc::gen::arbitrary<std::uint64_t>(),
                .after = *rc::gen::arbitrary<std::uint64_t>(),
                .forget = *rc::gen::arbitrary<bool>()};
    const auto bytes = encode(a);
    RC_ASSERT(bytes.size() == ask_bytes);
    const auto back = decode_ask(first<ask_bytes>(bytes));
    RC_ASSERT(back.ok());
    RC_ASSERT(back->id == a.id);
    RC_ASSERT(back->floor == a.floor);
    RC_ASSERT(back->after == a.after);
    RC_ASSERT(back->forget == a.forget);
  });
  property("ack, its text cut to the limit", [](const std::string& text) {
    const ack a{.id = *rc::gen::arbitrary<std::uint64_t>(),
                .code = *rc::gen::inRange<std::uint32_t>(0, std::uint32_t(errc::numeric) + 2)};
    const auto long_text = text + std::string(*rc::gen::inRange<std::size_t>(0, 2 * max_ack_text), 'x');
    const auto bytes = encode(a, long_text);
    const auto back = decode_ack(first<ack_head_bytes>(bytes));
    RC_ASSERT(back.ok());
    RC_ASSERT(back->id == a.id);
    RC_ASSERT(back->code == a.code);
    RC_ASSERT(back->text_bytes == std::min(long_text.size(), max_ack_text));
    RC_ASSERT(bytes.size() == ack_head_bytes + back->text_bytes);
  });
}

TEST_CASE("a frame with changed bytes is an error or another frame within the limits, written as it was read") {
  property(
      "hello",
      [] {
        auto bytes = encode(random_hello());
        mutate(bytes);
        if (const auto back = decode_hello(first<hello_bytes>(bytes)))
          RC_ASSERT(encode(*back) == bytes);
        else
          RC_ASSERT((back.error().code == errc::corrupt));
      },
      500);
  property(
      "welcome",
      [] {
        auto bytes =
            encode(welcome{.outcome = verdict(*rc::gen::inRange(0, 4)), .answer = random_array<proof_bytes>()});
        mutate(bytes);
        if (const auto back = decode_welcome(first<welcome_bytes>(bytes)))
          RC_ASSERT(encode(*back) == bytes);
        else
          RC_ASSERT((back.error().code == errc::corrupt));
      },
      500);
  property(
      "transfer head",
      [] {
        auto bytes = encode(random_head(), {});
        mutate(bytes);
        if (const auto back = decode_transfer(first<transfer_head_bytes>(bytes))) {
          RC_ASSERT(back->message_bytes <= max_message_bytes);
          RC_ASSERT(back->num_slices <= max_slices);
          RC_ASSERT(encode(*back, {}) == bytes);
        } else {
          RC_ASSERT((back.error().code == errc::corrupt));
        }
      },
      500);
  property(
      "slice table",
      [] {
        std::vector<slice> slices(*rc::gen::inRange<std::size_t>(1, 20));
        for (auto& s : slices)
          s.to = {1, *rc::gen::arbitrary<std::uint64_t>(), *rc::gen::inRange<std::uint64_t>(0, max_transfer_bytes / 8)};
        auto bytes = encode(transfer_head{}, slices);
        bytes.erase(bytes.begin(), bytes.begin() + transfer_head_bytes);
        mutate(bytes);
        if (const auto table = decode_slices(bytes)) {
          std::uint64_t sum = 0;
          for (const auto& s : *table) sum += s.bytes;
          RC_ASSERT(table->size() == slices.size());
          RC_ASSERT(sum <= max_transfer_bytes);
        } else {
          RC_ASSERT((table.error().code == errc::corrupt));
        }
      },
      500);
  property(
      "ask",
      [] {
        auto bytes = encode(ask{.id = *rc::gen::arbitrary<std::uint64_t>(), .forget = *rc::gen::arbitrary<bool>()});
        mutate(bytes);
        if (const auto back = decode_ask(first<ask_bytes>(bytes)))
          RC_ASSERT(encode(*back) == bytes);
        else
          RC_ASSERT((back.error().code == errc::corrupt));
      },
      500);
  property(
      "ack",
      [] {
        const std::string text(*rc::gen::inRange<std::size_t>(0, 2 * max_ack_text), 'x');
        auto bytes = encode(ack{.id = 1, .code = *rc::gen::inRange<std::uint32_t>(0, 11)}, text);
        bytes.resize(ack_head_bytes);
        mutate(bytes);
        if (const auto back = decode_ack(first<ack_head_bytes>(bytes))) {
          RC_ASSERT(back->text_bytes <= max_ack_text);
          auto again = encode(*back, std::string(back->text_bytes, 'x'));
          again.resize(ack_head_bytes);
          RC_ASSERT(again == bytes);
        } else {
          RC_ASSERT((back.error().code == errc::corrupt));
        }
      },
      500);
}

TEST_CASE("a proof fits one token, one side and one meeting") {
  property("any other gives another", [](const std::string& token) {
    const meeting about{.dialler = *rc::gen::arbitrary<std::uint64_t>(),
                        .listener = *rc::gen::arbitrary<std::uint64_t>(),
                        .numerics = *rc::gen::arbitrary<std::uint64_t>(),
                        .by_listener = random_array<challenge_bytes>(),
                        .by_dialler = random_array<challenge_bytes>()};
    const auto right = prove(token, side::dialler, about);
    RC_ASSERT(same(right, prove(token, side::dialler, about)));
    RC_ASSERT(!same(right, prove(token, side::listener, about)));
    RC_ASSERT(!same(right, prove(token + "x", side::dialler, about)));
    auto other = about;
    switch (*rc::gen::inRange(0, 5)) {
    case 0: ++other.dialler; break;
    case 1: ++other.listener; break;
    case 2: ++other.numerics; break;
    case 3: other.by_listener[*rc::gen::inRange<std::size_t>(0, challenge_bytes)] ^= std::byte{1}; break;
    case 4: other.by_dialler[*rc::gen::inRange<std::size_t>(0, challenge_bytes)] ^= std::byte{1}; break;
    }
    RC_ASSERT(!same(right, prove(token, side::dialler, other)));
  });
}
