// model/text/decoding.hpp: what tokens say once they are text again: marks become spaces, <0xNN> bytes, and a text begins
// without the space that encoding puts there.
// Threads any, once filled
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quadrant::model {

/// The byte of a token that is written <0xNN>.
std::optional<std::uint8_t> byte_of_token(std::string_view token) noexcept;

struct decoding {
  std::vector<std::pair<std::string, std::string>> replacements; ///< in each token
  bool byte_tokens = false;                                      ///< <0xNN> says its byte
  std::string lead;                                              ///< a character that begins no text
  std::size_t most_lead = 0;                                     ///< so many of it at most

  [[nodiscard]] bool changes_tokens() const noexcept { return byte_tokens || !replacements.empty(); }
  [[nodiscard]] std::string text_of(std::string_view token) const;
  /// Takes the lead from the next characters of a text, `left` of it at most; once there are others, none is left.
  void drop_lead(std::string& text, std::size_t& left) const;
};

} // namespace quadrant::model
