// actors/http/answer.hpp: one answer on its way: the tokens of every choice in, what the client reads out. No socket and
// no actor.
//
//   token of (prompt, sample) ─▶ choice ─▶ utterance ─▶ events (a stream) or one body (a whole answer)
//
// A stream has no byte before its first token: a request that fails at once still gets an HTTP status of its own.
// Choices are numbered prompt by prompt: index = prompt * samples + sample.
// Threads one owner
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "actors/http/choice.hpp"
#include "actors/http/reply_parts.hpp"

namespace quadrant::actors::http {

class answer {
public:
  struct settings {
    answer_id about{};
    const reply_form* form = &chat_reply();
    std::int32_t samples = 1; ///< of each prompt
    std::int32_t prompts = 1;
    std::int32_t prompt_tokens = 0;  ///< of all of them
    std::vector<std::string> echo{}; ///< of each prompt, what its choices begin with; or none
    bool stream = false, include_usage = false, continuous_usage = false;
    choice::settings each{};
  };
  answer(settings how, const chat_text& text);
  answer(const answer&) = delete;
  answer& operator=(const answer&) = delete;

  void prompt_read(std::int32_t cached_tokens) { used_.cached_tokens += cached_tokens; }
  /// What to send now; often nothing. choice_over() after it: the rest of this sample is not wanted.
  std::string token(std::int32_t prompt, const made_token& t);
  /// The last bytes of the sample, and of the answer where it is the last. why: stop or length
  std::string finished(std::int32_t prompt, std::int32_t sample, finish why);
  /// In place of what is left, once a stream has begun.
  [[nodiscard]] static std::string broken(const api_error& why) { return event(error_json(why)); }

  [[nodiscard]] bool stream() const noexcept { return how_.stream; }
  [[nodiscard]] bool begun() const noexcept { return used_.completion_tokens > 0; } ///< has the first token come?
  [[nodiscard]] bool over() const noexcept { return open_ == 0; }
  [[nodiscard]] bool choice_over(std::int32_t prompt, std::int32_t sample) const;
  [[nodiscard]] bool prompt_over(std::int32_t prompt) const; ///< each of its choices
  [[nodiscard]] const usage& used() const noexcept { return used_; }
  /// length if a choice was cut, else tool_calls if one called, else stop.
  [[nodiscard]] std::string_view finish_reason() const;

private:
  struct part {
    choice maker;
    utterance all{};     ///< of a whole answer
    bool opened = false; ///< of a stream
  };
  [[nodiscard]] std::size_t index(std::int32_t prompt, std::int32_t sample) const;
  std::string put(std::size_t index, utterance what);
  std::string close(std::size_t index, utterance rest);
  [[nodiscard]] nlohmann::ordered_json envelope(const char* kind) const;
  [[nodiscard]] std::string chunk(std::size_t index, nlohmann::ordered_json choice) const;
  [[nodiscard]] std::string ending() const;
  std::string open(std::size_t index);

  const settings how_;
  const chat_text text_;
  std::vector<part> parts_;
  usage used_;
  std::size_t open_; ///< choices that have not ended
};

} // namespace quadrant::actors::http
