#include "actors/checkpoint_template.hpp"

#include "config/file.hpp"

namespace quadrant::actors {
namespace {

using nlohmann::json;

/// An empty object where there is no such file.
result<json> read_object(const std::filesystem::path& file) {
  const auto text = read_file(file);
  if (!text) return json::object();
  auto object = json::parse(*text, nullptr, false);
  if (!object.is_object()) return {errc::corrupt, file.string() + " is not a JSON object"};
  return object;
}

/// A token is named by its text, or by an object that holds it.
std::string token_of(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && found->at("content").is_string())
    return found->at("content").get<std::string>();
  return {};
}

/// The template of this name in a list of them; one that stands alone is `default`.
std::optional<std::string> template_of(const json& config, std::string_view name) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return name == "default" ? std::optional(found->get<std::string>()) : std::nullopt;
  if (!found->is_array()) return std::nullopt;
  for (const auto& one : *found)
    if (one.is_object() && one.value("name", json()) == name && one.contains("template") &&
        one.at("template").is_string())
      return one.at("template").get<std::string>();
  return std::nullopt;
}

result<std::optional<model::chat_template>> parsed(std::optional<std::string> source, const std::string& place) {
  if (!source) return std::optional<model::chat_template>();
  auto made = model::chat_template::parse(*std::move(source));
  if (!made) return {made.error().code, "the chat template of " + place + ": " + made.error().message};
  return std::optional(std::move(made).value());
}

} // namespace

result<checkpoint_template> checkpoint_template::open(const std::filesystem::path& place) {
  const bool is_file = std::filesystem::is_regular_file(place);
  QUADRANT_TRY(const auto settings, read_object(is_file ? place : place / "tokenizer_config.json"));
  checkpoint_template t;
  t.place_ = place.string();
  t.bos_token_ = token_of(settings, "bos_token");
  t.eos_token_ = token_of(settings, "eos_token");
  auto own_file = is_file ? std::nullopt : read_file(place / "chat_template.jinja");
  auto with_tools = own_file ? std::nullopt : template_of(settings, "tool_use");
  auto plain = own_file ? std::move(own_file) : template_of(settings, "default");
  t.source_ = with_tools ? *with_tools : plain.value_or("");
  QUADRANT_TRY(t.with_tools_, parsed(std::move(with_tools), t.place_));
  QUADRANT_TRY(t.plain_, parsed(std::move(plain), t.place_));
  return t;
}

result<void> checkpoint_template::given() const {
  if (plain_) return {};
  return {errc::invalid_argument,
          "the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json, of " +
              place_ + ")"};
}

result<model::rendered_chat> checkpoint_template::render(const nlohmann::ordered_json& messages,
                                                         model::chat_template::options with) const {
  const auto& chosen = with_tools_ && !with.tools.is_null() ? with_tools_ : plain_;
  if (!chosen) QUADRANT_TRY_VOID(given());
  with.bos_token = bos_token_;
  with.eos_token = eos_token_;
  return chosen->render(messages, with);
}

} // namespace quadrant::actors
