// actors/loadgen/prompt_writer.hpp: texts of about so many tokens, that begin alike where a trace says so.
//
//   block 46    block 47    the request's own
//   [w w w w w] [w w w w w] [w w w …        words are drawn from the seed and the block's id, so equal ids are equal text
// How many tokens a word makes, and how many a server puts around a text, is measured by probe.hpp.
#pragma once
#include <cstdint>
#include <string>

#include "actors/loadgen/trace.hpp"

namespace quadrant::actors::loadgen {

/// tokens = overhead + words × per_word
struct token_rate {
  double per_word = 1.3; ///< above 0
  double overhead = 0;
};

/// So many different words are used.
inline constexpr std::size_t num_words = 128;

/// `count` of them, one after another as they are listed, and again from the first.
std::string words_in_turn(std::size_t count);

class prompt_writer {
public:
  prompt_writer(std::uint64_t seed, token_rate rate, std::int32_t block_tokens);

  /// The text of request `index`: as many words as make its input_tokens, of its blocks and then of its own; one at
  /// least.
  [[nodiscard]] std::string write(const trace_row& request, std::size_t index) const;

private:
  std::uint64_t seed_;
  token_rate rate_;
  std::size_t block_words_;
};

} // namespace quadrant::actors::loadgen
