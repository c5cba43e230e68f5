// actors/loadgen/answer_event.hpp: what one event of a streamed answer says, of /v1/chat/completions and /v1/completions.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quadrant::actors::loadgen {

struct token_usage {
  std::int32_t prompt_tokens = 0, completion_tokens = 0;
};

struct answer_event {
  bool done = false;                ///< [DONE]
  bool has_text = false;            ///< it brings some of the answer: text, reasoning, a refusal or a tool call
  bool finished = false;            ///< it tells why the answer ends
  std::optional<token_usage> usage; ///< of the answer so far
  std::optional<std::string> error; ///< the server ends it with this; or what came is no event of an answer
  bool broken = false;              ///< the latter
};

answer_event parse_event(std::string_view data);

/// The usage of an answer that was not streamed, where it tells.
std::optional<token_usage> parse_usage(std::string_view body);

/// The message in the body of an error, or its first words where it has another form; one line.
std::string error_message(std::string_view body);

} // namespace quadrant::actors::loadgen
