// actors/checkpoint_template.hpp: the chat template of a model directory, with the tokens that it writes by name.
// Threads any, after open
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "config/result.hpp"
#include "model/chat_template.hpp"

namespace quadrant::actors {

class checkpoint_template {
public:
  /// `place` is a directory: its chat_template.jinja, or the chat_template of its tokenizer_config.json; or it is such a
  /// tokenizer_config.json. There may be none.
  /// Errors  errc::corrupt, errc::unavailable: file and what is wrong in it
  static result<checkpoint_template> open(const std::filesystem::path& place);

  /// Of `with`, bos_token and eos_token are the checkpoint's.
  /// Errors  errc::invalid_argument: the template does not take them, or there is none
  [[nodiscard]] result<model::rendered_chat> render(const nlohmann::ordered_json& messages,
                                                    model::chat_template::options with) const;

  /// Errors  errc::invalid_argument: there is no template
  [[nodiscard]] result<void> given() const;
  [[nodiscard]] const std::string& eos_token() const noexcept { return eos_token_; }
  /// What the template that takes tools is made of: it shows how the model writes their calls. Empty: there is none.
  [[nodiscard]] const std::string& source() const noexcept { return source_; }

private:
  std::string place_, bos_token_, eos_token_, source_;
  /// Of a list of named ones `default`, and `tool_use`, which takes its place where there are tools.
  std::optional<model::chat_template> plain_, with_tools_;
};

} // namespace quadrant::actors
