// model/text_span.hpp: a run of prompt text and whether the operator wrote it.
// Trusted text (a chat template's own words) may hold control tokens; anything a client sent may not.
#pragma once
#include <string_view>

namespace quadrant::model {

struct text_span {
  std::string_view text;
  bool trusted = false;
};

} // namespace quadrant::model
