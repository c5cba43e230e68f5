#include "actors/http/completion_request.hpp"

#include <algorithm>
#include <optional>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t max_prompts = 16;

bool is_id(const json& value) { return value.is_number_integer() && value >= 0 && value <= std::int64_t(INT32_MAX); }

std::optional<text_or_ids> one_prompt(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array() || value.empty() || !std::ranges::all_of(value, is_id)) return std::nullopt;
  return value.get<std::vector<std::int32_t>>();
}

std::vector<text_or_ids> read_prompts(request_fields& fields) {
  const auto* value = fields.find("prompt");
  std::vector<text_or_ids> prompts;
  const auto wrong = [&] {
    fields.wrong("prompt", "a string or a list of token ids, or a list of up to 16 of either", value);
    return std::vector<text_or_ids>();
  };
  if (value == nullptr) return wrong();
  if (auto one = one_prompt(*value)) return {std::move(*one)};
  if (!value->is_array() || value->empty() || value->size() > max_prompts) return wrong();
  for (const auto& each : *value) {
    auto one = one_prompt(each);
    if (!one || (!prompts.empty() && one->index() != prompts.front().index())) return wrong();
    prompts.push_back(std::move(*one));
  }
  return prompts;
}

} // namespace

std::variant<completion_request, api_error> parse_completion_request(std::string_view body,
                                                                     const gpu::sampling& defaults) {
  const auto parsed = parse_object(body);
  if (const auto* error = std::get_if<api_error>(&parsed)) return *error;
  request_fields fields(std::get<json>(parsed));
  completion_request to;
  to.prompts = read_prompts(fields);
  to.how = read_generation(fields, defaults);
  to.how.top_logprobs = std::int32_t(fields.integer("logprobs", 0, max_top_logprobs, -1));
  to.echo = fields.boolean("echo", false);
  if (to.echo && to.how.top_logprobs >= 0)
    fields.wrong("echo", "false where logprobs are wanted: a prompt has none here");
  if (fields.integer("best_of", 1, max_choices, to.how.n) != to.how.n)
    fields.wrong("best_of", "left out, or the same as n");
  if (const auto* suffix = fields.find("suffix"); suffix != nullptr && *suffix != "")
    fields.wrong("suffix", "left out: text cannot be put in between");
  if (to.how.n * std::int32_t(to.prompts.size()) > max_choices)
    fields.wrong("n", "so small that all prompts together have at most 128 choices");
  if (fields.problem()) return *fields.problem();
  to.ignored = fields.ignored();
  return to;
}

} // namespace quadrant::actors::http
