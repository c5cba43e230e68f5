#include "model/grammar/grammar_vocabulary.hpp"

#include <algorithm>

#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

constexpr std::size_t most_lead = 8; ///< more could be said for ever, unseen

bool is_plain(std::string_view bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto c = utf8::at(bytes, i);
    if (!c.valid || c.code < 0x20 || c.code == '"' || c.code == '\\') return false;
    i += c.size;
  }
  return true;
}

void set(std::vector<std::uint64_t>& mask, std::int32_t id) {
  mask[std::size_t(id) / 64] |= std::uint64_t(1) << std::size_t(id) % 64;
}

} // namespace

struct grammar_vocabulary::sorted_tokens {
  std::vector<byte_trie::entry> all, not_plain;
  std::vector<std::uint64_t> speaking, plain;
  bool cuts_characters = false;
};

result<std::shared_ptr<const grammar_vocabulary>> grammar_vocabulary::build(tokenizer tokens, std::int32_t width,
                                                                            std::span<const std::int32_t> stop_ids) {
  const auto words = (std::size_t(std::max(width, 0)) + 63) / 64;
  std::vector<std::uint64_t> stops(words);
  for (const auto id : stop_ids)
    if (id >= 0 && id < width) set(stops, id);
  if (std::ranges::all_of(stops, [](auto word) { return word == 0; }))
    return {errc::invalid_argument, "no token below " + std::to_string(width) +
                                        " ends an answer, so none can be held to a grammar; config.json is to name one "
                                        "as eos_token_id"};

  const auto [lead, most] = tokens.lead();
  if (most > most_lead || (most > 0 && lead.size() != 1))
    return {errc::unavailable,
            "tokenizer.json: its decoder strips more from a text's start than 8 times one byte, so no "
            "answer can be held to a grammar"};

  sorted_tokens sorted;
  sorted.speaking.resize(words);
  sorted.plain.resize(words);
  for (std::int32_t id = 0; id < std::min(width, tokens.vocab_size()); ++id) {
    const auto bytes = tokens.bytes_of(id);
    if (bytes.empty() || bytes.size() > byte_trie::max_bytes) continue;
    if (tokens.is_control(id) || allows(stops, id)) continue; // what is special is control
    set(sorted.speaking, id);
    sorted.all.push_back({bytes, id});
    if (is_plain(bytes)) {
      set(sorted.plain, id);
      continue;
    }
    sorted.not_plain.push_back({bytes, id});
    if (utf8::settled_prefix(bytes) < bytes.size()) sorted.cuts_characters = true;
  }
  const text_lead of_text{.byte = most > 0 ? std::uint8_t(lead[0]) : std::uint8_t(0), .most = std::uint8_t(most)};
  return std::shared_ptr<const grammar_vocabulary>(
      new grammar_vocabulary(std::move(tokens), std::move(sorted),
                             std::make_shared<const std::vector<std::uint64_t>>(std::move(stops)), of_text));
}

grammar_vocabulary::grammar_vocabulary(tokenizer tokens, sorted_tokens sorted, token_mask stops, text_lead lead)
    : tokens_(std::move(tokens)), all_(std::move(sorted.all)), not_plain_(std::move(sorted.not_plain)),
      speaking_(std::move(sorted.speaking)), plain_(std::move(sorted.plain)), cuts_characters_(sorted.cuts_characters),
      stops_(std::move(stops)), lead_(lead) {}

std::optional<std::uint8_t> grammar_vocabulary::lacks(std::string_view bytes) const noexcept {
  for (const char c : bytes)
    if (all_.find(all_.all(), std::uint8_t(c)).ids.empty()) return std::uint8_t(c);
  return std::nullopt;
}

std::size_t grammar_vocabulary::memory_bytes() const noexcept {
  return all_.memory_bytes() + not_plain_.memory_bytes() + 3 * plain_.size() * sizeof(std::uint64_t);
}

} // namespace quadrant::model
