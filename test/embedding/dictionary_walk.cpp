// A pipeline of its own around an embedded cluster: asks what a word is, takes the kind of thing it is from the answer,
// and asks again.
//   dictionary_walk MODEL WORD [STEPS]        violin -> bowed stringed instrument -> ...
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>

#include "actors/chat_text.hpp"
#include "actors/engine.hpp"

using namespace quadrant;

namespace {

/// Collects an answer as text.
class text_sink final : public actors::token_sink {
public:
  explicit text_sink(const actors::chat_text& text) : decoder_(text.decoder()) {}
  void token(const actors::made_token& t) override { text_ += decoder_.push(t.id); }
  void finished(std::int32_t, actors::finish) override { end_.set_value(text_ + decoder_.flush()); }
  void failed(const failure& why) override { end_.set_value(why); }
  result<std::string> wait() { return end_.get_future().get(); }

private:
  model::token_decoder decoder_;
  std::string text_;
  std::promise<result<std::string>> end_;
};

result<std::string> ask(actors::engine& engine, const actors::chat_text& text, const std::string& question) {
  actors::generation what;
  QUADRANT_TRY(what.tokens, text.prompt(std::string_view(question)));
  what.stop_tokens = text.stop_tokens();
  const auto sink = std::make_shared<text_sink>(text);
  engine.submit(std::move(what), sink);
  return sink->wait();
}

result<void> walk(const std::string& directory, std::string word, int steps) {
  topology layout; // two pipeline stages and two expert groups, all in this process
  layout.prefill_pp = 2;
  layout.experts_decode_ep = 2;
  QUADRANT_TRY(const auto engine, actors::engine::start({.model = directory, .layout = layout}));
  QUADRANT_TRY(const auto text, actors::chat_text::open(directory, engine->config()));
  for (int i = 0; i < steps && !word.empty(); ++i) {
    QUADRANT_TRY(const auto answer, ask(*engine, text, "What is a " + word + "?"));
    std::printf("%s\n", answer.c_str());
    const std::string kind = "kind of ";
    const auto at = answer.rfind(kind);
    word = at == std::string::npos
               ? ""
               : answer.substr(at + kind.size(), answer.find_last_not_of(". ") + 1 - at - kind.size());
  }
  return {};
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "dictionary_walk MODEL WORD [STEPS]\n");
    return 2;
  }
  const auto done = walk(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 3);
  if (!done) std::fprintf(stderr, "dictionary_walk: %s\n", done.error().message.c_str());
  return done ? 0 : 1;
}
