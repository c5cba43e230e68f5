// model/grammar/grammar_vocabulary.hpp: the tokens of a model as a grammar sees them: those that say something of a text,
// by their bytes, and those that end it. Built once a model.
//
//   whole characters, none of " \ or a control   ─▶ plain: a mask, for no string refuses them
//   the rest                                      ─▶ a small trie, for within strings
//   all                                           ─▶ a trie, for everywhere else
//
// Control tokens, special ones and those that say nothing are never part of a text; ids past the width do not exist.
// Units   a mask has bit id % 64 of word id / 64, for ids below the width
// Threads any, once built
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "model/grammar/byte_trie.hpp"
#include "model/tokenizer.hpp"

namespace quadrant::model {

/// Never changes, and lives as long as someone holds it.
using token_mask = std::shared_ptr<const std::vector<std::uint64_t>>;

[[nodiscard]] inline bool allows(const std::vector<std::uint64_t>& mask, std::int32_t id) noexcept {
  const auto at = std::size_t(id);
  return id >= 0 && at / 64 < mask.size() && (mask[at / 64] >> at % 64 & 1) != 0;
}

class grammar_vocabulary {
public:
  /// `width` is that of the logits, which may exceed the tokenizer's vocabulary or fall short of it.
  /// Errors  errc::invalid_argument: no stop id lies below the width; errc::unavailable: a text of this tokenizer begins
  ///         without something that is longer than a byte
  static result<std::shared_ptr<const grammar_vocabulary>> build(tokenizer tokens, std::int32_t width,
                                                                 std::span<const std::int32_t> stop_ids);

  /// Whether `id` may say something within a text; then `bytes` is what.
  [[nodiscard]] bool speaks(std::int32_t id) const noexcept { return allows(speaking_, id); }
  [[nodiscard]] std::string_view bytes(std::int32_t id) const noexcept { return tokens_.bytes_of(id); }

  [[nodiscard]] const byte_trie& all() const noexcept { return all_; }
  [[nodiscard]] const byte_trie& not_plain() const noexcept { return not_plain_; }
  [[nodiscard]] const std::vector<std::uint64_t>& plain() const noexcept { return plain_; }
  [[nodiscard]] const token_mask& stops() const noexcept { return stops_; } ///< the ids that end a text

  /// What the decoder takes from the start of a text: this byte, so many times at most.
  struct text_lead {
    std::uint8_t byte = 0;
    std::uint8_t most = 0;
  };
  [[nodiscard]] text_lead lead() const noexcept { return lead_; }

  /// The first byte of `bytes` that no token says alone.
  [[nodiscard]] std::optional<std::uint8_t> lacks(std::string_view bytes) const noexcept;
  [[nodiscard]] bool cuts_characters() const noexcept { return cuts_characters_; } ///< some token ends within one
  /// The most bytes of `set` that one token has.
  [[nodiscard]] int most_of(std::string_view set) const { return all_.most_of(set); }
  [[nodiscard]] std::size_t memory_bytes() const noexcept; ///< without the tokenizer's

private:
  struct sorted_tokens;
  grammar_vocabulary(tokenizer tokens, sorted_tokens sorted, token_mask stops, text_lead lead);

  tokenizer tokens_;
  byte_trie all_, not_plain_;
  std::vector<std::uint64_t> speaking_, plain_;
  bool cuts_characters_;
  token_mask stops_;
  text_lead lead_;
};

} // namespace quadrant::model
