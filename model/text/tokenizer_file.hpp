// model/text/tokenizer_file.hpp: a tokenizer.json, taken apart.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "model/text/added_tokens.hpp"
#include "model/text/bpe.hpp"
#include "model/text/tokenizer_stages.hpp"
#include "model/text/vocabulary.hpp"

namespace quadrant::model {

struct tokenizer_parts {
  vocabulary words;               ///< added tokens too, by id; those that text may not become are hidden
  std::vector<added_token> added; ///< sorted by id
  token_finder before_normalisation, after_normalisation;
  normaliser normal;
  cutting pieces;
  bpe merges;
  bool unknown_is_control = false; ///< what the vocabulary lacks is a control token
  prompt_frame frame;              ///< of a prompt
  decoding spoken;
  std::optional<vocabulary> spoken_words; ///< what tokens say, by id, where that is not what `words` has

  [[nodiscard]] const added_token* find_added(std::int32_t id) const noexcept;
};

/// Errors  errc::corrupt, errc::unavailable: `name`, what is wrong, what is known here
result<tokenizer_parts> read_tokenizer_file(std::string_view json, std::string_view name);

} // namespace quadrant::model
