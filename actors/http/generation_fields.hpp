// actors/http/generation_fields.hpp: what a client asks of an answer, whether it is a chat's or a completion's.
//
//   field                               allowed                                          where it is not there
//   model                               the name of the model                            the one that is served
//   max_tokens                          1 to 2^31-1                                      chat: the model's; else 16
//   max_completion_tokens (chat)        the same, and rules over max_tokens
//   min_tokens                          0 to max_tokens                                  0
//   temperature                         0 to 2 (below 0.001 is 0: greedy)                the model's
//   top_p, min_p                        above 0 to 1; 0 to 1                             the model's
//   top_k                               1 to 2^31-1; 0, -1: all                          the model's
//   presence_penalty, frequency_penalty -2 to 2                                          0
//   repetition_penalty                  above 0 to 2                                     the model's
//   logit_bias                          {"id": -100 to 100}, up to 1,024                 none
//   seed                                a whole number of 64 bits                        drawn at admission
//   n                                   1 to 128                                         1
//   stop                                a string, or a list of up to 16; none empty      none
//   stop_token_ids                      up to 128 ids, beside the model's                none
//   include_stop_str_in_output          true or false                                    false
//   ignore_eos                          true: the model's own ids end nothing            false
//   response_format.type                text, json_object                                text
//   stream                              true or false                                    false
//   stream_options.include_usage        true: a usage chunk at the end                   false
//   stream_options.continuous_usage_stats  true: usage in every chunk                    false
//
// null counts as not there.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "actors/engine.hpp"
#include "actors/http/request_fields.hpp"

namespace quadrant::actors::http {

inline constexpr std::int32_t max_choices = 128; ///< of one request

struct generation_fields {
  std::string model;                                   ///< empty: not named
  std::int32_t max_new_tokens = 0, min_new_tokens = 0; ///< 0: not named
  gpu::sampling sampling;
  bool has_seed = false;
  std::vector<gpu::logit_bias> bias;
  answer_form form = answer_form::text;
  std::int32_t n = 1;
  std::int32_t top_logprobs = -1; ///< -1: none; the two kinds of request ask in their own ways
  std::vector<std::string> stop;
  std::vector<std::int32_t> stop_tokens;
  bool include_stop = false, ignore_eos = false;
  bool stream = false, include_usage = false, continuous_usage = false;
};

/// defaults: what the model wants where the request says nothing.
generation_fields read_generation(request_fields& fields, const gpu::sampling& defaults);

} // namespace quadrant::actors::http
