#include "actors/chat_text.hpp"

#include <algorithm>

#include "actors/checkpoint_template.hpp"
#include "config/file.hpp"
#include "model/json_fields.hpp"

namespace quadrant::actors {

struct chat_text::parts {
  model::tokenizer tokens;
  checkpoint_template shape;
  std::vector<std::int32_t> stop_tokens;
  gpu::sampling sampling;
};

namespace {

result<gpu::sampling> read_sampling(const std::filesystem::path& file) {
  const auto name = file.string();
  const auto text = read_file(file);
  const auto json = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json::object();
  if (!json.is_object()) return {errc::corrupt, name + " is not a JSON object"};
  model::json_fields fields(json, name);
  gpu::sampling s;
  s.temperature = fields.boolean("do_sample", true) ? float(fields.real("temperature", 0, 100, 1)) : 0.0f;
  s.top_p = float(fields.real("top_p", 0, 1, 1));
  s.top_k = fields.integer("top_k", 0, 1 << 30, 0);
  s.min_p = float(fields.real("min_p", 0, 1, 0));
  s.repetition = float(fields.real("repetition_penalty", 0.01, 100, 1));
  if (fields.problem()) return *fields.problem();
  return s;
}

/// The same with the arguments of tool calls as objects, which most templates expect.
nlohmann::ordered_json with_argument_objects(nlohmann::ordered_json messages) {
  for (auto& message : messages)
    if (const auto calls = message.find("tool_calls"); calls != message.end())
      for (auto& call : *calls) {
        auto& arguments = call["function"]["arguments"];
        if (!arguments.is_string()) continue;
        const auto& text = arguments.get_ref<const std::string&>();
        auto object = nlohmann::ordered_json::parse(text.empty() ? "{}" : text, nullptr, false);
        if (object.is_object()) arguments = std::move(object);
      }
  return messages;
}

void name_developers_system(nlohmann::ordered_json& messages) {
  for (auto& message : messages)
    if (message["role"] == "developer") message["role"] = "system";
}

} // namespace

result<chat_text> chat_text::open(const std::filesystem::path& directory, const model::model_config& config) {
  QUADRANT_TRY(auto tokens, model::tokenizer::open(directory));
  QUADRANT_TRY(auto shape, checkpoint_template::open(directory));
  QUADRANT_TRY(const auto sampling, read_sampling(directory / "generation_config.json"));
  parts p{.tokens = std::move(tokens),
          .shape = std::move(shape),
          .stop_tokens = config.eos_token_ids,
          .sampling = sampling};
  const auto& eos_token = p.shape.eos_token();
  if (const auto eos = p.tokens.id_of(eos_token);
      eos && !eos_token.empty() && std::ranges::find(p.stop_tokens, *eos) == p.stop_tokens.end())
    p.stop_tokens.push_back(*eos);
  return chat_text(std::make_shared<const parts>(std::move(p)));
}

result<std::vector<std::int32_t>> chat_text::chat_prompt(nlohmann::ordered_json messages,
                                                         const model::chat_template::options& with) const {
  if (template_source().find("developer") == std::string::npos) name_developers_system(messages);
  const auto with_objects = with_argument_objects(messages);
  auto chat = parts_->shape.render(with_objects, with);
  if (!chat && with_objects != messages) // some templates, DeepSeek's among them, join the arguments to their text
    if (auto again = parts_->shape.render(messages, with)) chat = std::move(again);
  if (!chat) return chat.error();
  return parts_->tokens.encode_spans(chat->spans());
}

result<std::vector<std::int32_t>> chat_text::prompt(std::string_view user_message) const {
  nlohmann::ordered_json message = {{"role", "user"}, {"content", user_message}};
  return chat_prompt(nlohmann::ordered_json::array({std::move(message)}));
}

model::token_decoder chat_text::decoder(model::text_start start, control_tokens control) const {
  return model::token_decoder(parts_->tokens, /*skip_special=*/control == control_tokens::hidden, start);
}
const std::string& chat_text::template_source() const { return parts_->shape.source(); }
const model::tokenizer& chat_text::tokens() const { return parts_->tokens; }
const std::vector<std::int32_t>& chat_text::stop_tokens() const { return parts_->stop_tokens; }
const gpu::sampling& chat_text::sampling() const { return parts_->sampling; }

} // namespace quadrant::actors
