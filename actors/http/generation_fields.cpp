#include "actors/http/generation_fields.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

constexpr auto most = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t max_stops = 16, max_stop_tokens = 128;
/// Two logits that differ by 0.1 are e^100 apart here: the same as greedy, without the division.
constexpr float greedy_below = 0.001f;

std::vector<std::string> read_stops(request_fields& fields) {
  std::vector<std::string> list;
  const auto* value = fields.find("stop");
  if (value == nullptr) return list;
  const auto wrong = [&] {
    fields.wrong("stop", "a string, or a list of up to 16 strings, none of them empty", value);
    return std::vector<std::string>();
  };
  if (value->is_string())
    list.push_back(value->get<std::string>());
  else if (!value->is_array() || value->size() > max_stops)
    return wrong();
  else
    for (const auto& one : *value) {
      if (!one.is_string()) return wrong();
      list.push_back(one.get<std::string>());
    }
  return std::ranges::any_of(list, [](const auto& stop) { return stop.empty(); }) ? wrong() : list;
}

void read_seed(request_fields& fields, generation_fields& to) {
  const auto* value = fields.find("seed");
  if (value == nullptr) return;
  if (!value->is_number_integer()) return fields.wrong("seed", "a whole number of 64 bits", value);
  to.has_seed = true;
  to.sampling.seed =
      value->is_number_unsigned() ? value->get<std::uint64_t>() : std::uint64_t(value->get<std::int64_t>());
}

std::vector<gpu::logit_bias> read_bias(request_fields& fields) {
  std::vector<gpu::logit_bias> list;
  const auto* value = fields.find("logit_bias");
  if (value == nullptr) return list;
  const auto wrong = [&] {
    fields.wrong("logit_bias", "an object of up to 1024 biases from -100 to 100, each by its token id", value);
    return std::vector<gpu::logit_bias>();
  };
  if (!value->is_object() || value->size() > std::size_t(max_logit_biases)) return wrong();
  for (const auto& [key, bias] : value->items()) {
    std::int32_t id = -1;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (problem != std::errc{} || end != key.data() + key.size() || id < 0 || !bias.is_number()) return wrong();
    const auto size = bias.get<double>();
    if (!(size >= -100 && size <= 100)) return wrong();
    list.push_back({id, float(size)});
  }
  std::ranges::sort(list, {}, &gpu::logit_bias::id);
  const auto same = [](const auto& a, const auto& b) { return a.id == b.id; }; // "1" and "01"
  return std::ranges::adjacent_find(list, same) == list.end() ? list : wrong();
}

void read_sampling(request_fields& fields, const gpu::sampling& defaults, generation_fields& to) {
  using enum request_fields::low_end;
  auto& s = to.sampling = defaults;
  s.temperature = fields.real("temperature", 0, 2, defaults.temperature);
  if (s.temperature < greedy_below) s.temperature = 0;
  s.top_p = std::max(fields.real("top_p", 0, 1, defaults.top_p, outside), std::numeric_limits<float>::min());
  s.min_p = fields.real("min_p", 0, 1, defaults.min_p);
  s.top_k = std::int32_t(std::max<std::int64_t>(0, fields.integer("top_k", -1, most, defaults.top_k)));
  s.presence = fields.real("presence_penalty", -2, 2, defaults.presence);
  s.frequency = fields.real("frequency_penalty", -2, 2, defaults.frequency);
  s.repetition = std::max(fields.real("repetition_penalty", 0, 2, defaults.repetition, outside),
                          std::numeric_limits<float>::min());
  read_seed(fields, to);
  to.bias = read_bias(fields);
}

void read_form(request_fields& fields, generation_fields& to) {
  const auto* format = fields.object("response_format");
  if (format == nullptr) return;
  const auto type = format->find("type");
  if (type != format->end() && *type == "json_object")
    to.form = answer_form::json_object;
  else if (type != format->end() && *type == "json_schema")
    fields.wrong("response_format.type", "\"text\" or \"json_object\": answers are not held to a schema");
  else if (type == format->end() || *type != "text")
    fields.wrong("response_format.type", "\"text\" or \"json_object\"");
}

void read_stream(request_fields& fields, generation_fields& to) {
  to.stream = fields.boolean("stream", false);
  const auto* options = fields.object("stream_options");
  if (options == nullptr) return;
  if (!to.stream) return fields.wrong("stream_options", "left out unless stream is true");
  request_fields inner(*options, "stream_options.");
  to.include_usage = inner.boolean("include_usage", false);
  to.continuous_usage = inner.boolean("continuous_usage_stats", false);
  fields.take_problem(inner.problem());
}

} // namespace

generation_fields read_generation(request_fields& fields, const gpu::sampling& defaults) {
  generation_fields to;
  to.model = fields.text("model", "the name of a model");
  to.max_new_tokens = std::int32_t(fields.integer("max_tokens", 1, most, 0));
  to.min_new_tokens = std::int32_t(fields.integer("min_tokens", 0, most, 0));
  read_sampling(fields, defaults, to);
  to.n = std::int32_t(fields.integer("n", 1, max_choices, 1));
  to.stop = read_stops(fields);
  to.stop_tokens = fields.ids("stop_token_ids", max_stop_tokens);
  to.include_stop = fields.boolean("include_stop_str_in_output", false);
  to.ignore_eos = fields.boolean("ignore_eos", false);
  read_form(fields, to);
  read_stream(fields, to);
  return to;
}

} // namespace quadrant::actors::http
