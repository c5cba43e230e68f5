// actors/http/chat_request.hpp: the body of POST /v1/chat/completions, checked.
//
//   field                               allowed                                          where it is not there
//   messages                            {role: system|user|assistant, content}, ...      an error
//                                       content: a string, or [{type: text, text}, ...]
//   max_completion_tokens, max_tokens   1 to 2^31-1 (the first rules)                    the model's default
//   temperature                         0 to 2 (below 0.001 is 0: greedy)                the model's default
//   top_p, min_p                        above 0 to 1; 0 to 1                             the model's default
//   top_k                               1 to 2^31-1; 0, -1: all                          the model's default
//   seed                                a whole number of 64 bits                        drawn at admission
//   stop                                a string, or a list of up to 4; none empty       none
//   n                                   1                                                1
//   stream, ignore_eos                  true or false                                    false
//   stream_options.include_usage        true or false                                    false
//
// null counts as not there. Other fields are ignored, and named in `ignored` where they are known to the API.
// Parts of one message are joined by line ends. Limits: JSON nested 64 deep.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "actors/http/api_error.hpp"
#include "gpu/ops.hpp"

namespace quadrant::actors::http {

struct chat_request {
  nlohmann::ordered_json messages; ///< of {"role", "content"}, both strings
  std::string model;               ///< empty: not named
  std::int32_t max_new_tokens = 0; ///< 0: not named
  gpu::sampling sampling;
  bool has_seed = false;
  std::vector<std::string> stop;
  bool stream = false, include_usage = false, ignore_eos = false;
  /// Fields that nothing here looks at. Names of the API only, "" for any other: a client's own words never reach a
  /// log.
  std::vector<std::string_view> ignored;
};

/// Never throws, whatever the bytes. defaults: what the model wants where the request says nothing.
std::variant<chat_request, api_error> parse_chat_request(std::string_view body, const gpu::sampling& defaults);

} // namespace quadrant::actors::http
