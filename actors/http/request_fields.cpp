#include "actors/http/request_fields.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

constexpr int max_depth = 64, max_members = 2048;

/// Names that may reach a log; any other is a client's own word.
constexpr auto api_names = std::to_array<std::string_view>({"add_special_tokens",
                                                            "audio",
                                                            "best_of",
                                                            "documents",
                                                            "echo",
                                                            "function_call",
                                                            "functions",
                                                            "guided_choice",
                                                            "guided_grammar",
                                                            "guided_json",
                                                            "guided_regex",
                                                            "length_penalty",
                                                            "logprobs",
                                                            "max_completion_tokens",
                                                            "metadata",
                                                            "modalities",
                                                            "parallel_tool_calls",
                                                            "prediction",
                                                            "priority",
                                                            "prompt_cache_key",
                                                            "prompt_logprobs",
                                                            "reasoning_effort",
                                                            "safety_identifier",
                                                            "service_tier",
                                                            "skip_special_tokens",
                                                            "spaces_between_special_tokens",
                                                            "store",
                                                            "structured_outputs",
                                                            "tool_choice",
                                                            "tools",
                                                            "top_logprobs",
                                                            "truncate_prompt_tokens",
                                                            "use_beam_search",
                                                            "user",
                                                            "verbosity",
                                                            "web_search_options"});

/// What is out of bounds in the nesting of a text, or nothing. Of what is no JSON the answer means nothing.
std::optional<std::string> out_of_bounds(std::string_view text) {
  std::array<int, max_depth + 1> members{};
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
      if (++depth > max_depth) return "is nested deeper than " + std::to_string(max_depth) + " levels";
      members[std::size_t(depth)] = 0;
    } else if (c == '}' || c == ']') {
      depth = std::max(0, depth - 1);
    } else if (c == ':' && ++members[std::size_t(depth)] > max_members) {
      return "holds an object of more than " + std::to_string(max_members) + " members";
    }
  }
  return std::nullopt;
}

std::string number(double value) { return json(value).dump(); }
std::string number(std::int64_t value) { return std::to_string(value); }

/// An unsigned above 2^63 is not a small negative number.
bool is_int64(const json& value) {
  return value.is_number_unsigned()
             ? value.get<std::uint64_t>() <= std::uint64_t(std::numeric_limits<std::int64_t>::max())
             : value.is_number_integer();
}

} // namespace

std::variant<json, api_error> parse_object(std::string_view text) {
  if (const auto problem = out_of_bounds(text)) return bad_request({}, "the body " + *problem);
  try {
    auto value = json::parse(text);
    if (!value.is_object()) return bad_request({}, "the body must be a JSON object, not " + shown(value));
    return value;
  } catch (const json::parse_error& e) {
    return bad_request({}, "the body is not valid JSON in UTF-8: byte " + std::to_string(e.byte) + " is out of place");
  } catch (const json::exception&) { // a number that no double holds
    return bad_request({}, "the body is not valid JSON: a number is out of range");
  }
}

std::string shown(const json& value) {
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (value.is_string() && value.get_ref<const std::string&>().empty()) return "an empty string";
  return std::string(value.is_array() || value.is_object() ? "an " : "a ") + value.type_name();
}

const json* request_fields::find(const char* key) {
  read_.emplace_back(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void request_fields::wrong(std::string_view key, const std::string& what, const json* value) {
  if (problem_) return;
  auto field = place_ + std::string(key);
  auto message = field + " must be " + what + (value != nullptr ? ", not " + shown(*value) : std::string());
  problem_ = bad_request(std::move(field), std::move(message));
}

bool request_fields::boolean(const char* key, bool fallback) {
  const auto* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return wrong(key, "true or false", value), fallback;
  return value->get<bool>();
}

std::int64_t request_fields::integer(const char* key, std::int64_t low, std::int64_t high, std::int64_t fallback) {
  const auto* value = find(key);
  if (value == nullptr) return fallback;
  if (!is_int64(*value) || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high)
    return wrong(key, "a whole number from " + number(low) + " to " + number(high), value), fallback;
  return value->get<std::int64_t>();
}

float request_fields::real(const char* key, double low, double high, float fallback, low_end end) {
  const auto* value = find(key);
  if (value == nullptr) return fallback;
  const bool inside = end == low_end::inside;
  const auto v = value->is_number() ? value->get<double>() : std::numeric_limits<double>::quiet_NaN();
  if (!(v <= high && (inside ? v >= low : v > low)))
    return wrong(key, std::string("a number ") + (inside ? "from " : "above ") + number(low) + " to " + number(high),
                 value),
           fallback;
  return float(v);
}

std::string request_fields::text(const char* key, const std::string& what) {
  const auto* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string() || value->get_ref<const std::string&>().empty())
    return wrong(key, what, value), std::string();
  return value->get<std::string>();
}

const json* request_fields::object(const char* key) {
  const auto* value = find(key);
  if (value == nullptr || value->is_object()) return value;
  return wrong(key, "an object", value), nullptr;
}

std::vector<std::int32_t> request_fields::ids(const char* key, std::size_t most) {
  std::vector<std::int32_t> list;
  const auto* value = find(key);
  if (value == nullptr) return list;
  const auto refuse = [&](const json* what) {
    wrong(key, "a list of up to " + std::to_string(most) + " token ids, whole numbers from 0", what);
    return std::vector<std::int32_t>();
  };
  if (!value->is_array() || value->size() > most) return refuse(value);
  for (const auto& id : *value) {
    if (!is_int64(id) || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > INT32_MAX) return refuse(&id);
    list.push_back(id.get<std::int32_t>());
  }
  return list;
}

std::vector<std::string_view> request_fields::ignored() const {
  std::vector<std::string_view> list;
  for (const auto& [key, value] : object_.items()) {
    if (value.is_null() || std::ranges::find(read_, std::string_view(key)) != read_.end()) continue;
    const auto known = std::ranges::find(api_names, std::string_view(key));
    const auto name = known == api_names.end() ? std::string_view() : *known;
    if (std::ranges::find(list, name) == list.end()) list.push_back(name);
  }
  return list;
}

} // namespace quadrant::actors::http
