// actors/http/chat_answer.hpp: one answer on its way: token ids in, what the client reads out. No socket and no actor.
//
//   id ─▶ decoder ─▶ stop strings ─▶ text ─▶ events (a stream) or one body (a whole answer)
//
// A stream has no byte before its first token: a request that fails at once still gets an HTTP status of its own.
// Units   completion_tokens counts every token made until the answer ended, the one that ended it too
// Threads one owner
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "actors/http/chat_reply.hpp"
#include "actors/http/stop_matcher.hpp"
#include "actors/token_sink.hpp"
#include "model/tokenizer.hpp"

namespace quadrant::actors::http {

class chat_answer {
public:
  struct settings {
    answer_id about;
    std::int32_t prompt_tokens = 0;
    bool stream = false, include_usage = false;
    std::vector<std::string> stop;         ///< strings
    std::vector<std::int32_t> stop_tokens; ///< ids; their text is not part of the answer
  };
  chat_answer(settings how, model::token_decoder decoder);

  /// What to send now; often nothing. over() after it: a stop string came, and the rest is not wanted.
  std::string token(std::int32_t id);
  /// The last bytes. why: stop or length
  std::string finished(finish why);
  /// In place of what is left, once a stream has begun.
  [[nodiscard]] std::string broken(const api_error& why) const { return chat_events::error(why); }

  [[nodiscard]] bool stream() const noexcept { return how_.stream; }
  [[nodiscard]] bool begun() const noexcept { return used_.completion_tokens > 0; } ///< has the first token come?
  [[nodiscard]] bool over() const noexcept { return over_; }
  [[nodiscard]] const usage& used() const noexcept { return used_; }

private:
  std::string put(const std::string& text);
  std::string close(std::string_view finish_reason);

  settings how_;
  chat_events events_;
  model::token_decoder decoder_;
  stop_matcher matcher_;
  std::string text_; ///< of a whole answer
  usage used_;
  bool over_ = false;
};

} // namespace quadrant::actors::http
