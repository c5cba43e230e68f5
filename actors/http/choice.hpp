// actors/http/choice.hpp: one choice of an answer on its way: the tokens of one sample in, what it says out.
//
//   id ─▶ decoder ─▶ stop strings ─▶ tool calls ─▶ utterance
//   logprobs wait until the text of their token has passed the stop strings
//
// Units   tokens counts every one made until the choice ended, the one that ended it too
// Threads one owner
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "actors/chat_text.hpp"
#include "actors/http/stop_matcher.hpp"
#include "actors/http/tool_call_parser.hpp"
#include "actors/http/utterance.hpp"
#include "actors/token_sink.hpp"

namespace quadrant::actors::http {

class choice {
public:
  struct settings {
    model::text_start start = model::text_start::own;
    std::vector<std::string> stop{};         ///< strings
    std::vector<std::int32_t> stop_tokens{}; ///< ids; their text is not part of the answer
    std::int32_t min_tokens = 0;             ///< no stop string counts before
    bool include_stop = false;               ///< the stop string is part of the answer
    bool logprobs = false;
    tool_call_parser::settings calls{};
    std::vector<std::int32_t> shown_tokens{}; ///< control tokens that mark calls
  };
  /// A copy of `text` outlives this and what it says.
  choice(const settings& how, const chat_text& text);

  /// over() after it: a stop string, or the only call that was wanted; the rest is not.
  utterance token(const made_token& t);
  /// The last words. why: stop or length
  utterance finished(finish why);

  [[nodiscard]] std::int32_t tokens() const noexcept { return tokens_; }
  [[nodiscard]] bool over() const noexcept { return !finish_reason_.empty(); }
  /// stop, length, tool_calls; empty: it goes on.
  [[nodiscard]] std::string_view finish_reason() const noexcept { return finish_reason_; }

private:
  struct waiting_token {
    said_token what;
    std::size_t begin = 0, end = 0; ///< bytes of the decoded text
    bool complete = false;          ///< end is known: no character is unfinished
  };
  [[nodiscard]] std::string decode(std::int32_t id);
  void note(const made_token& t, const std::string& text);
  void said(const std::string& text, utterance& to);
  void let_go(std::size_t end, utterance& to);
  void stop(utterance& to);

  const settings& how_;
  const model::tokenizer& tokenizer_;
  model::token_decoder decoder_;
  stop_matcher matcher_;
  tool_call_parser parser_;
  std::deque<waiting_token> waiting_;
  std::size_t decoded_ = 0, passed_ = 0; ///< bytes of text: out of the decoder, past the stop strings
  std::int64_t characters_ = 0;          ///< of the decoded text
  std::int32_t tokens_ = 0;
  std::string_view finish_reason_;
};

} // namespace quadrant::actors::http
