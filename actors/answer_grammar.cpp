#include "actors/answer_grammar.hpp"

#include <map>
#include <mutex>
#include <string>

#include "actors/chat_text.hpp"

namespace quadrant::actors {
namespace {

answer_grammar::outcome build(const std::filesystem::path& directory, const model::model_config& config) {
  QUADRANT_TRY(const auto text, chat_text::open(directory, config));
  QUADRANT_TRY(auto vocabulary, model::grammar_vocabulary::build(text.tokens(), config.vocab_size, text.stop_tokens()));
  return model::json_object_grammar(std::move(vocabulary));
}

} // namespace

std::shared_ptr<const answer_grammar> answer_grammar::of(const std::filesystem::path& directory,
                                                         const model::model_config& config) {
  static std::mutex mutex;
  static auto& known = *new std::map<std::string, std::weak_ptr<const answer_grammar>>; // an engine may end later
  const auto name = std::filesystem::weakly_canonical(directory).string();
  const std::lock_guard hold(mutex);
  if (auto there = known[name].lock()) return there;
  auto made = std::make_shared<const answer_grammar>(std::async(std::launch::async, build, directory, config).share());
  known[name] = made;
  return made;
}

} // namespace quadrant::actors
