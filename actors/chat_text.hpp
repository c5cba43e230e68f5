// actors/chat_text.hpp: what a serving process knows of text: tokenizer, chat template, stop ids and habits of one
// model directory, read once.
//
//   messages ─▶ template ─▶ spans (who wrote what) ─▶ ids          ids ─▶ decoder ─▶ text
//
// A client's text never becomes a control token: encode_spans keeps it apart from the template's own words.
// Threads any, after open; a decoder has one owner
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/result.hpp"
#include "gpu/sampling.hpp"
#include "model/chat_template.hpp"
#include "model/model_config.hpp"
#include "model/tokenizer.hpp"

namespace quadrant::actors {

enum class control_tokens : std::uint8_t { hidden, shown };

class chat_text {
public:
  /// A model may have no template (checkpoint_template.hpp says where one is sought).
  /// Errors  errc::not_found: no tokenizer.json; errc::corrupt, errc::unavailable, errc::invalid_argument: file and
  /// what is wrong in it
  static result<chat_text> open(const std::filesystem::path& directory, const model::model_config& config);

  /// messages: a list of {"role", "content"} and what else the API has. Arguments of tool calls are JSON text; a template
  /// gets them as objects, or as text where it does not take objects. A developer is the system to a template that knows
  /// none. Of `with`, the tokens are the model's.
  /// Errors  errc::invalid_argument: the template does not take them, or the model has no template
  [[nodiscard]] result<std::vector<std::int32_t>> chat_prompt(nlohmann::ordered_json messages,
                                                              const model::chat_template::options& with = {
                                                                  .now = std::chrono::system_clock::now()}) const;
  /// The prompt of a conversation that one user message opens.
  [[nodiscard]] result<std::vector<std::int32_t>> prompt(std::string_view user_message) const;

  /// The text of one token stream: an answer, or what continues a prompt that was no chat; control tokens left out
  /// unless they are shown. This object, or a copy of it, outlives the decoder.
  [[nodiscard]] model::token_decoder decoder(model::text_start start = model::text_start::own,
                                             control_tokens control = control_tokens::hidden) const;
  [[nodiscard]] const model::tokenizer& tokens() const;
  /// What checkpoint_template::source() says.
  [[nodiscard]] const std::string& template_source() const;

  /// The ids that end an answer: eos ids of the configuration, and the tokenizer's eos token.
  [[nodiscard]] const std::vector<std::int32_t>& stop_tokens() const;
  /// How the model wishes to be sampled where a request does not say: generation_config.json; `do_sample: false` is
  /// temperature 0. No seed.
  [[nodiscard]] const gpu::sampling& sampling() const;

private:
  struct parts;
  explicit chat_text(std::shared_ptr<const parts> p) : parts_(std::move(p)) {}
  std::shared_ptr<const parts> parts_;
};

} // namespace quadrant::actors
