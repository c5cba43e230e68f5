// model/jinja/lexer.hpp: a template's source as tokens, white space already settled.
// Rules   trim_blocks and lstrip_blocks are on, as chat templates expect; one newline at the end of the source is
//         dropped
// Errors  errc::corrupt, with the line
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"

namespace quadrant::model::jinja {

enum class token_kind : std::uint8_t {
  text,
  open_block,
  close_block,
  open_output,
  close_output,
  name,
  string,
  integer,
  real,
  op,
  end
};

struct token {
  token_kind kind = token_kind::end;
  std::string text; ///< unescaped
  int line = 0;

  [[nodiscard]] bool is(token_kind k, std::string_view word) const noexcept { return kind == k && text == word; }
};

/// The last token is `end`.
result<std::vector<token>> tokenise(std::string_view source);

} // namespace quadrant::model::jinja
