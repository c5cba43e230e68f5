#include "actors/chat_text.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include "config/file.hpp"
#include "model/chat_template.hpp"
#include "model/json_fields.hpp"

namespace quadrant::actors {

struct chat_text::parts {
  model::tokenizer tokens;
  std::optional<model::chat_template> shape;
  std::string bos_token, eos_token, directory;
  std::vector<std::int32_t> stop_tokens;
  gpu::sampling sampling;
};

namespace {

/// An empty object where there is no such file.
result<nlohmann::json> read_object(const std::filesystem::path& file) {
  const auto text = read_file(file);
  if (!text) return nlohmann::json::object();
  auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return {errc::corrupt, file.string() + " is not a JSON object"};
  return json;
}

/// A token is named by its text, or by an object that holds it.
std::string token_of(const nlohmann::json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && found->at("content").is_string())
    return found->at("content").get<std::string>();
  return {};
}

/// One template, or a list of named ones of which `default` is for chats.
std::optional<std::string> template_of(const nlohmann::json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return std::nullopt;
  for (const auto& one : *found)
    if (one.is_object() && one.value("name", nlohmann::json()) == "default" && one.contains("template") &&
        one.at("template").is_string())
      return one.at("template").get<std::string>();
  return std::nullopt;
}

result<gpu::sampling> read_sampling(const std::filesystem::path& file) {
  QUADRANT_TRY(const auto json, read_object(file));
  const auto name = file.string();
  model::json_fields fields(json, name);
  gpu::sampling s;
  s.temperature = fields.boolean("do_sample", true) ? float(fields.real("temperature", 0, 100, 1)) : 0.0f;
  s.top_p = float(fields.real("top_p", 0, 1, 1));
  s.top_k = fields.integer("top_k", 0, 1 << 30, 0);
  s.min_p = float(fields.real("min_p", 0, 1, 0));
  if (fields.problem()) return *fields.problem();
  return s;
}

} // namespace

result<chat_text> chat_text::open(const std::filesystem::path& directory, const model::model_config& config) {
  QUADRANT_TRY(auto tokens, model::tokenizer::open(directory));
  QUADRANT_TRY(const auto settings, read_object(directory / "tokenizer_config.json"));
  QUADRANT_TRY(const auto sampling, read_sampling(directory / "generation_config.json"));

  std::optional<model::chat_template> shape;
  auto source = read_file(directory / "chat_template.jinja");
  if (!source) source = template_of(settings);
  if (source) {
    auto parsed = model::chat_template::parse(std::move(*source));
    if (!parsed)
      return {parsed.error().code, "the chat template of " + directory.string() + ": " + parsed.error().message};
    shape = std::move(parsed).value();
  }

  parts p{.tokens = std::move(tokens),
          .shape = std::move(shape),
          .bos_token = token_of(settings, "bos_token"),
          .eos_token = token_of(settings, "eos_token"),
          .directory = directory.string(),
          .stop_tokens = config.eos_token_ids,
          .sampling = sampling};
  if (const auto eos = p.tokens.id_of(p.eos_token);
      eos && !p.eos_token.empty() && std::ranges::find(p.stop_tokens, *eos) == p.stop_tokens.end())
    p.stop_tokens.push_back(*eos);
  return chat_text(std::make_shared<const parts>(std::move(p)));
}

result<std::vector<std::int32_t>> chat_text::chat_prompt(const nlohmann::ordered_json& messages,
                                                         std::chrono::system_clock::time_point now) const {
  if (!parts_->shape)
    return {errc::invalid_argument,
            "the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json, of " +
                parts_->directory + ")"};
  QUADRANT_TRY(
      const auto chat,
      parts_->shape->render(messages, {.bos_token = parts_->bos_token, .eos_token = parts_->eos_token, .now = now}));
  return parts_->tokens.encode_spans(chat.spans());
}

result<std::vector<std::int32_t>> chat_text::prompt(std::string_view user_message) const {
  nlohmann::ordered_json message = {{"role", "user"}, {"content", user_message}};
  return chat_prompt(nlohmann::ordered_json::array({std::move(message)}));
}

model::token_decoder chat_text::decoder() const { return model::token_decoder(parts_->tokens); }
const model::tokenizer& chat_text::tokens() const { return parts_->tokens; }
const std::vector<std::int32_t>& chat_text::stop_tokens() const { return parts_->stop_tokens; }
const gpu::sampling& chat_text::sampling() const { return parts_->sampling; }

} // namespace quadrant::actors
