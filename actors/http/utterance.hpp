// actors/http/utterance.hpp: what one choice of an answer says at once: text, pieces of tool calls, tokens with their
// logprobs. All that a choice has said is an utterance too.
#pragma once
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quadrant::actors::http {

struct call_piece {
  std::int32_t index = 0;   ///< of the call in its choice
  std::string id{}, name{}; ///< in the first piece of a call only
  std::string arguments{};  ///< joined over the pieces: JSON, as the model wrote it
};

struct said_token {
  std::string_view bytes; ///< of the token, perhaps part of a character; the tokenizer's
  float logprob = 0;
  std::int64_t text_offset = 0; ///< characters of the choice before it
  std::vector<std::pair<std::string_view, float>> top{};
};

struct utterance {
  std::string text{};
  std::vector<call_piece> calls{};
  std::vector<said_token> tokens{};

  [[nodiscard]] bool empty() const noexcept { return text.empty() && calls.empty() && tokens.empty(); }
  /// Joins what was said later; pieces of a call become one.
  void add(utterance later) {
    text += later.text;
    for (auto& piece : later.calls) {
      if (piece.name.empty() && !calls.empty())
        calls.back().arguments += piece.arguments;
      else
        calls.push_back(std::move(piece));
    }
    std::move(later.tokens.begin(), later.tokens.end(), std::back_inserter(tokens));
  }
};

} // namespace quadrant::actors::http
