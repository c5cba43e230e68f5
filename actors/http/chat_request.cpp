#include "actors/http/chat_request.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace quadrant::actors::http {
namespace {

using nlohmann::json;

constexpr int max_depth = 64;
constexpr std::size_t max_stops = 4;
/// Two logits that differ by 0.1 are e^100 apart here: the same as greedy, without the division.
constexpr double greedy_below = 0.001;

constexpr std::array used_fields = {
    "ignore_eos", "max_completion_tokens", "max_tokens",  "messages", "min_p", "model", "n", "seed", "stop",
    "stream",     "stream_options",        "temperature", "top_k",    "top_p"};
constexpr std::array<std::string_view, 21> known_fields = {"chat_template_kwargs",
                                                           "frequency_penalty",
                                                           "functions",
                                                           "logit_bias",
                                                           "logprobs",
                                                           "metadata",
                                                           "min_tokens",
                                                           "modalities",
                                                           "parallel_tool_calls",
                                                           "presence_penalty",
                                                           "reasoning_effort",
                                                           "repetition_penalty",
                                                           "response_format",
                                                           "service_tier",
                                                           "store",
                                                           "tool_choice",
                                                           "tools",
                                                           "top_logprobs",
                                                           "user",
                                                           "prediction",
                                                           "function_call"};

/// Deeper than `limit`? Of what is no JSON the answer means nothing.
bool nested_deeper(std::string_view text, int limit) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// What a value is, for a message: a number as it stands, anything else by its kind.
std::string shown(const json& value) {
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (value.is_string() && value.get_ref<const std::string&>().empty()) return "an empty string";
  return std::string(value.is_array() || value.is_object() ? "an " : "a ") + value.type_name();
}

std::string number(double value) { return json(value).dump(); }
std::string number(std::int64_t value) { return std::to_string(value); }

/// Reads fields and keeps the first thing that was wrong; reads after that mean nothing.
class reader {
public:
  explicit reader(const json& object) : object_(object) {}
  std::optional<api_error> problem;

  /// absent and null are one: nullptr
  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void wrong(std::string field, const std::string& what, const json* value = nullptr) {
    if (problem) return;
    auto message = field + " must be " + what + (value != nullptr ? ", not " + shown(*value) : std::string());
    problem = bad_request(std::move(field), std::move(message));
  }
  bool boolean(const char* key, bool fallback) {
    const auto* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) return wrong(key, "true or false", value), fallback;
    return value->get<bool>();
  }
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high, std::int64_t fallback) {
    const auto* value = find(key);
    if (value == nullptr) return fallback;
    // An unsigned above 2^63 is not a small negative number.
    const bool fits = value->is_number_unsigned()
                          ? value->get<std::uint64_t>() <= std::uint64_t(std::numeric_limits<std::int64_t>::max())
                          : value->is_number_integer();
    if (!fits || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high)
      return wrong(key, "a whole number from " + number(low) + " to " + number(high), value), fallback;
    return value->get<std::int64_t>();
  }
  float real(const char* key, double low, double high, float fallback, bool low_too = true) {
    const auto* value = find(key);
    if (value == nullptr) return fallback;
    const auto v = value->is_number() ? value->get<double>() : -1;
    if (!value->is_number() || !(v <= high && (low_too ? v >= low : v > low)))
      return wrong(key, std::string("a number ") + (low_too ? "from " : "above ") + number(low) + " to " + number(high),
                   value),
             fallback;
    return float(v);
  }

private:
  const json& object_;
};

/// The text of a message, or nothing with the problem noted.
std::string read_content(reader& fields, const json& message, const std::string& where) {
  const auto content = message.find("content");
  const auto* value = content == message.end() ? nullptr : &*content;
  const auto field = where + ".content";
  if (value == nullptr) return fields.wrong(field, "there: a string, or a list of text parts"), std::string();
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array() || value->empty())
    return fields.wrong(field, "a string, or a list of one or more text parts", value), std::string();
  std::string text;
  for (std::size_t i = 0; i < value->size(); ++i) {
    const auto& part = (*value)[i];
    const auto at = field + "[" + std::to_string(i) + "]";
    if (!part.is_object()) return fields.wrong(at, "an object", &part), std::string();
    const auto type = part.find("type"), words = part.find("text");
    if (type == part.end() || *type != "text")
      return fields.wrong(at + ".type", "\"text\": this model reads text only"), std::string();
    if (words == part.end() || !words->is_string()) return fields.wrong(at + ".text", "a string"), std::string();
    if (i > 0) text += '\n';
    text += words->get_ref<const std::string&>();
  }
  return text;
}

nlohmann::ordered_json read_messages(reader& fields) {
  auto list = nlohmann::ordered_json::array();
  const auto* value = fields.find("messages");
  if (value == nullptr || !value->is_array() || value->empty())
    return fields.wrong("messages", "a list of one or more {\"role\", \"content\"}", value), list;
  for (std::size_t i = 0; i < value->size() && !fields.problem; ++i) {
    const auto& message = (*value)[i];
    const auto where = "messages[" + std::to_string(i) + "]";
    if (!message.is_object()) return fields.wrong(where, "an object", &message), list;
    const auto role = message.find("role");
    if (role == message.end() || (*role != "system" && *role != "user" && *role != "assistant"))
      return fields.wrong(where + ".role", "\"system\", \"user\" or \"assistant\""), list;
    list.push_back({{"role", role->get<std::string>()}, {"content", read_content(fields, message, where)}});
  }
  return list;
}

std::vector<std::string> read_stops(reader& fields) {
  std::vector<std::string> list;
  const auto* value = fields.find("stop");
  if (value == nullptr) return list;
  const auto wrong = [&] { fields.wrong("stop", "a string, or a list of up to 4 strings, none of them empty", value); };
  if (value->is_string())
    list.push_back(value->get<std::string>());
  else if (!value->is_array() || value->size() > max_stops)
    return wrong(), list;
  else
    for (const auto& one : *value) {
      if (!one.is_string()) return wrong(), list;
      list.push_back(one.get<std::string>());
    }
  if (std::ranges::any_of(list, [](const auto& stop) { return stop.empty(); })) wrong();
  return list;
}

void read_seed(reader& fields, chat_request& to) {
  const auto* value = fields.find("seed");
  if (value == nullptr) return;
  if (!value->is_number_integer()) return fields.wrong("seed", "a whole number of 64 bits", value);
  to.has_seed = true;
  to.sampling.seed =
      value->is_number_unsigned() ? value->get<std::uint64_t>() : std::uint64_t(value->get<std::int64_t>());
}

void read_sampling(reader& fields, const gpu::sampling& defaults, chat_request& to) {
  constexpr auto most = std::numeric_limits<std::int32_t>::max();
  auto& s = to.sampling = defaults;
  s.temperature = fields.real("temperature", 0, 2, defaults.temperature);
  if (s.temperature < greedy_below) s.temperature = 0;
  s.top_p = std::max(fields.real("top_p", 0, 1, defaults.top_p, false), std::numeric_limits<float>::min());
  s.min_p = fields.real("min_p", 0, 1, defaults.min_p);
  s.top_k = std::int32_t(std::max<std::int64_t>(0, fields.integer("top_k", -1, most, defaults.top_k)));
  read_seed(fields, to);
}

void read_stream(reader& fields, chat_request& to) {
  to.stream = fields.boolean("stream", false);
  const auto* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) return fields.wrong("stream_options", "an object", options);
  if (!to.stream) return fields.wrong("stream_options", "left out unless stream is true");
  const auto usage = options->find("include_usage");
  if (usage == options->end() || usage->is_null()) return;
  if (!usage->is_boolean()) return fields.wrong("stream_options.include_usage", "true or false", &*usage);
  to.include_usage = usage->get<bool>();
}

void note_ignored(const json& object, chat_request& to) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_null() || std::ranges::find(used_fields, std::string_view(key)) != used_fields.end()) continue;
    const auto known = std::ranges::find(known_fields, std::string_view(key));
    const auto name = known == known_fields.end() ? std::string_view() : *known;
    if (std::ranges::find(to.ignored, name) == to.ignored.end()) to.ignored.push_back(name);
  }
}

/// The JSON, or where it stops being any.
std::variant<json, api_error> parse_json(std::string_view body) {
  if (nested_deeper(body, max_depth))
    return bad_request({}, "the body is nested deeper than " + std::to_string(max_depth) + " levels");
  try {
    return json::parse(body);
  } catch (const json::parse_error& e) {
    return bad_request({}, "the body is not valid JSON in UTF-8: byte " + std::to_string(e.byte) + " is out of place");
  } catch (const json::exception&) { // a number that no double holds
    return bad_request({}, "the body is not valid JSON: a number is out of range");
  }
}

} // namespace

std::variant<chat_request, api_error> parse_chat_request(std::string_view body, const gpu::sampling& defaults) {
  auto parsed = parse_json(body);
  if (auto* error = std::get_if<api_error>(&parsed)) return std::move(*error);
  const auto& object = std::get<json>(parsed);
  if (!object.is_object()) return bad_request({}, "the body must be a JSON object, not " + shown(object));

  constexpr auto most = std::numeric_limits<std::int32_t>::max();
  chat_request to;
  reader fields(object);
  to.messages = read_messages(fields);
  if (const auto* model = fields.find("model")) {
    if (model->is_string() && !model->get_ref<const std::string&>().empty())
      to.model = model->get<std::string>();
    else
      fields.wrong("model", "the name of a model", model);
  }
  to.max_new_tokens = std::int32_t(fields.integer("max_tokens", 1, most, 0));
  to.max_new_tokens = std::int32_t(fields.integer("max_completion_tokens", 1, most, to.max_new_tokens));
  read_sampling(fields, defaults, to);
  to.stop = read_stops(fields);
  if (const auto* n = fields.find("n"); n != nullptr && *n != 1) fields.wrong("n", "1, one answer a request", n);
  read_stream(fields, to);
  to.ignore_eos = fields.boolean("ignore_eos", false);
  if (fields.problem) return std::move(*fields.problem);
  note_ignored(object, to);
  return to;
}

} // namespace quadrant::actors::http
