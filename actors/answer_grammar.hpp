// actors/answer_grammar.hpp: the grammar of JSON answers of a model directory, built once a process and beside everything
// else: a large vocabulary takes some tenths of a second.
// Threads any
#pragma once
#include <filesystem>
#include <future>
#include <memory>

#include "config/result.hpp"
#include "model/grammar/grammar.hpp"
#include "model/model_config.hpp"

namespace quadrant::actors {

class answer_grammar {
public:
  using outcome = result<std::shared_ptr<const model::grammar>>;

  /// That of the directory: begins to build it, unless it is there already.
  static std::shared_ptr<const answer_grammar> of(const std::filesystem::path& directory,
                                                  const model::model_config& config);
  /// Waits until it is built.
  /// Errors  as chat_text::open and model::json_object_grammar
  [[nodiscard]] const outcome& get() const { return built_.get(); }

  explicit answer_grammar(std::shared_future<outcome> built) : built_(std::move(built)) {}

private:
  std::shared_future<outcome> built_;
};

} // namespace quadrant::actors
