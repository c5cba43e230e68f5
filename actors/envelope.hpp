// actors/envelope.hpp: a Cap'n Proto message as a CAF message element.
//
// One immutable message in standard framing (segment table, segments) in one 8-byte aligned block, shared by reference
// count: copying an envelope copies a pointer, a local send moves it, a remote one copies the bytes once, on receipt.
// Errors  a message from the wire that is oversized or points outside itself is refused while it is deserialised; one
//         whose pointers are of another kind than its schema's makes reading throw, which ends the actor that reads it
// Threads any; views are cheap and made fresh, since a Cap'n Proto reader counts its own traversal
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include <caf/deserializer.hpp>
#include <caf/error.hpp>
#include <caf/meta/type_name.hpp>
#include <caf/sec.hpp>
#include <caf/serializer.hpp>
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>
#include <kj/io.h>

#include "config/clock.hpp"

namespace quadrant::actors {

inline constexpr std::size_t max_envelope_bytes = 64u << 20;

/// Who caused a message and when it was sent: what a trace is made of.
struct trace_mark {
  std::uint64_t trace = 0; ///< request id, or 0
  std::uint64_t span = 0;  ///< id of the sending actor, or 0
  std::int64_t sent_ns = 0;
};

/// The block that holds a message.
struct frame_block {
  std::shared_ptr<const capnp::word[]> words;
  std::uint32_t num_words = 0;
  [[nodiscard]] kj::ArrayPtr<const capnp::word> array() const { return {words.get(), num_words}; }
};

/// Builds a message inside the block that becomes its frame. Word 0 is kept for the segment table of a one-segment
/// message, so sealing copies only when the first segment overflowed.
class block_builder final : public capnp::MessageBuilder {
public:
  explicit block_builder(std::size_t hint_words)
      : block_(std::make_shared_for_overwrite<capnp::word[]>(hint_words + 1)), capacity_(hint_words) {
    std::memset(static_cast<void*>(block_.get()), 0, (capacity_ + 1) * sizeof(capnp::word));
  }
  kj::ArrayPtr<capnp::word> allocateSegment(unsigned minimum_words) override {
    if (!first_taken_ && minimum_words <= capacity_) {
      first_taken_ = true;
      return {block_.get() + 1, capacity_};
    }
    first_taken_ = true;
    const auto words = std::max<std::size_t>(minimum_words, next_words_);
    next_words_ = words * 2;
    overflow_.push_back(std::make_unique<std::uint64_t[]>(words));
    return {reinterpret_cast<capnp::word*>(overflow_.back().get()), words};
  }
  frame_block seal() {
    const auto segments = getSegmentsForOutput();
    if (segments.size() == 1 && segments[0].begin() == block_.get() + 1) {
      const std::uint32_t table[2] = {0, static_cast<std::uint32_t>(segments[0].size())}; // little-endian hosts
      std::memcpy(static_cast<void*>(block_.get()), table, sizeof table);
      return {std::move(block_), static_cast<std::uint32_t>(segments[0].size() + 1)};
    }
    const auto words = capnp::computeSerializedSizeInWords(segments);
    auto flat = std::make_shared_for_overwrite<capnp::word[]>(words);
    kj::ArrayOutputStream out({reinterpret_cast<kj::byte*>(flat.get()), words * sizeof(capnp::word)});
    capnp::writeMessage(out, segments);
    return {std::move(flat), static_cast<std::uint32_t>(words)};
  }

private:
  std::shared_ptr<capnp::word[]> block_;
  std::size_t capacity_, next_words_ = 1024;
  bool first_taken_ = false;
  std::vector<std::unique_ptr<std::uint64_t[]>> overflow_;
};

template <class Schema>
class envelope {
public:
  using schema_type = Schema;

  /// Reads the message; use it only while the envelope lives.
  class view_type {
  public:
    explicit view_type(const frame_block& f)
        : reader_(f.array(), options()), root_(reader_.template getRoot<Schema>()) {}
    const typename Schema::Reader* operator->() const { return &root_; }
    const typename Schema::Reader& operator*() const { return root_; }

  private:
    static capnp::ReaderOptions options() {
      capnp::ReaderOptions o;
      o.traversalLimitInWords = ~std::uint64_t{0} >> 8; // the size of the block is the limit
      return o;
    }
    capnp::FlatArrayMessageReader reader_;
    typename Schema::Reader root_;
  };

  envelope() = default;
  explicit envelope(frame_block f, trace_mark mark = {}) : frame_(std::move(f)), mark_(mark) {}

  /// `fill(builder)` writes the message.
  template <class Fill>
  static envelope make(Fill&& fill, std::uint64_t trace = 0, std::size_t hint_words = 62) {
    block_builder b(hint_words);
    auto root = b.initRoot<Schema>();
    fill(root);
    return envelope{b.seal(), {.trace = trace, .sent_ns = steady_clock::monotonic_ns()}};
  }

  [[nodiscard]] view_type view() const& { return view_type{frame_}; }
  view_type view() const&& = delete;
  [[nodiscard]] const frame_block& frame() const noexcept { return frame_; }
  [[nodiscard]] const trace_mark& mark() const noexcept { return mark_; }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, envelope& x) {
    if constexpr (std::is_base_of_v<caf::serializer, Inspector>) {
      if (auto e = f(x.mark_.trace, x.mark_.span, x.mark_.sent_ns)) return e;
      std::size_t bytes = std::size_t{x.frame_.num_words} * sizeof(capnp::word);
      if (auto e = f.begin_sequence(bytes)) return e;
      if (bytes != 0)
        if (auto e = f.apply_raw(bytes, const_cast<capnp::word*>(x.frame_.words.get()))) return e;
      return f.end_sequence();
    } else if constexpr (std::is_base_of_v<caf::deserializer, Inspector>) {
      if (auto e = f(x.mark_.trace, x.mark_.span, x.mark_.sent_ns)) return e;
      std::size_t bytes = 0;
      if (auto e = f.begin_sequence(bytes)) return e;
      if (bytes % sizeof(capnp::word) != 0 || bytes > max_envelope_bytes) return caf::sec::invalid_argument;
      frame_block received;
      if (bytes != 0) {
        auto block = std::make_shared_for_overwrite<capnp::word[]>(bytes / sizeof(capnp::word));
        if (auto e = f.apply_raw(bytes, block.get())) return e;
        received = {std::move(block), static_cast<std::uint32_t>(bytes / sizeof(capnp::word))};
        try {
          (void)view_type { received } -> totalSize(); // walks every pointer within the block
        } catch (const kj::Exception&) {
          return caf::sec::invalid_argument;
        }
      }
      x.frame_ = std::move(received);
      return f.end_sequence();
    } else {
      auto words = x.frame_.num_words; // to a log: never the payload
      return f(caf::meta::type_name("envelope"), words);
    }
  }

private:
  frame_block frame_;
  trace_mark mark_;
};

} // namespace quadrant::actors
