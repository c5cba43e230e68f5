// model/text/added_tokens.hpp: the tokens that are cut out of text before BPE sees it.
//
// A control token is one that is special, or is written <|like this|>. It counts only in trusted text.
// Threads any, once filled
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/trust_map.hpp"

namespace quadrant::model {

struct added_token {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;                     ///< not inside a word
  bool strip_left = false, strip_right = false; ///< takes the spaces beside it
  bool normalised = false;                      ///< sought in normalised text
  bool special = false;

  [[nodiscard]] bool is_control() const noexcept;
};

class token_finder {
public:
  /// `content` as it stands in the text that will be searched; not empty.
  void add(std::string content, const added_token& token);
  void seal();

  struct match {
    std::size_t begin, end;
    std::int32_t id;
  };
  /// The leftmost token at or after `from`; of several there, the longest that counts. Where that is not to be in a word,
  /// but is, there is none up to its end.
  [[nodiscard]] std::optional<match> next(const marked_text& text, std::size_t from) const;

private:
  struct entry {
    std::string content;
    added_token token;
  };
  [[nodiscard]] const entry* longest_at(const marked_text& text, std::size_t at) const;
  std::vector<entry> entries_;     ///< sorted by content
  std::array<bool, 256> starts_{}; ///< bytes that begin an entry
};

} // namespace quadrant::model
