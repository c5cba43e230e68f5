#include "actors/http/text_service.hpp"

#include <algorithm>

#include "actors/http/reply_parts.hpp"
#include "model/text_span.hpp"

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;
using ids_or_error = std::variant<std::vector<std::int32_t>, api_error>;

constexpr std::size_t max_ids = std::size_t(1) << 20;

/// The ids of a text, as /v1/completions reads it.
std::vector<std::int32_t> ids_of(const served_model& model, const std::string& text, bool framed) {
  if (framed) return model.text.tokens().encode(text, model::special_tokens::parse);
  const model::text_span span{text, true};
  return model.text.tokens().encode_spans({&span, 1});
}

ids_or_error prompt_of(const served_model& model, request_fields& fields) {
  const bool framed = fields.boolean("add_special_tokens", true);
  if (const auto* prompt = fields.find("prompt")) {
    if (!prompt->is_string()) fields.wrong("prompt", "a string", prompt);
    if (fields.problem()) return *fields.problem();
    return ids_of(model, prompt->get<std::string>(), framed);
  }
  if (fields.find("messages") == nullptr) fields.wrong("prompt", "there, or messages");
  auto chat = read_conversation(fields);
  if (fields.problem()) return *fields.problem();
  return chat_prompt(model, std::move(chat));
}

} // namespace

std::variant<std::string, api_error> tokenize(const served_model& model, std::string_view body) {
  const auto parsed = parse_object(body);
  if (const auto* error = std::get_if<api_error>(&parsed)) return *error;
  request_fields fields(std::get<json>(parsed));
  const auto asked = fields.text("model", "the name of a model");
  const bool with_texts = fields.boolean("return_token_strs", false);
  const auto prompt = prompt_of(model, fields);
  if (fields.problem()) return *fields.problem();
  if (auto error = other_model(model, asked)) return *std::move(error);
  if (const auto* error = std::get_if<api_error>(&prompt)) return *error;
  const auto& ids = std::get<std::vector<std::int32_t>>(prompt);
  json to = {{"count", ids.size()}, {"max_model_len", model.config.max_position_embeddings}, {"tokens", ids}};
  if (with_texts) {
    auto& texts = to["token_strs"] = json::array();
    for (const auto id : ids) texts.push_back(model.text.tokens().bytes_of(id));
  }
  return dump(to);
}

std::variant<std::string, api_error> detokenize(const served_model& model, std::string_view body) {
  const auto parsed = parse_object(body);
  if (const auto* error = std::get_if<api_error>(&parsed)) return *error;
  request_fields fields(std::get<json>(parsed));
  const auto asked = fields.text("model", "the name of a model");
  const auto ids = fields.ids("tokens", max_ids);
  if (fields.find("tokens") == nullptr) fields.wrong("tokens", "there: a list of token ids");
  const auto size = model.text.tokens().vocab_size();
  if (std::ranges::any_of(ids, [&](auto id) { return id >= size; }))
    fields.wrong("tokens", "ids below " + std::to_string(size));
  if (fields.problem()) return *fields.problem();
  if (auto error = other_model(model, asked)) return *std::move(error);
  return dump(json{{"prompt", model.text.tokens().decode(ids, /*skip_special=*/false)}});
}

} // namespace quadrant::actors::http
