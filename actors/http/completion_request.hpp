// actors/http/completion_request.hpp: the body of POST /v1/completions, checked.
//
//   field      allowed                                                          where it is not there
//   prompt     a string, or a list of ids; or a list of up to 16 of either      an error
//   logprobs   0 to 20                                                          none
//   echo       true: the prompt's text comes first; not with logprobs           false
//   best_of    n                                                                n
//   suffix     none
//
// and what generation_fields.hpp lists; max_tokens is 16 where it is not there, as the API has it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "actors/http/generation_fields.hpp"

namespace quadrant::actors::http {

using text_or_ids = std::variant<std::string, std::vector<std::int32_t>>;

struct completion_request {
  std::vector<text_or_ids> prompts; ///< one or more
  bool echo = false;
  generation_fields how;
  std::vector<std::string_view> ignored;
};

/// Never throws, whatever the bytes. defaults: what the model wants where the request says nothing.
std::variant<completion_request, api_error> parse_completion_request(std::string_view body,
                                                                     const gpu::sampling& defaults);

} // namespace quadrant::actors::http
