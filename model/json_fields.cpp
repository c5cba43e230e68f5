#include "model/json_fields.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

bool is_integer_in(const json& value, std::int64_t low, std::int64_t high) {
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t(INT64_MAX)) return false;
  return value.is_number_integer() && value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= high;
}

} // namespace

nlohmann::json parse_shallow(std::string_view text) {
  return nlohmann::json::parse(
      text, [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth < 16; }, false);
}

std::string shown_json(const json& value) {
  constexpr std::size_t longest = 80;
  auto text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

std::string shown_text(std::string_view text) {
  constexpr std::size_t longest = 120;
  return json(text.substr(0, longest)).dump(-1, ' ', true, json::error_handler_t::replace) +
         (text.size() > longest ? "..." : "");
}

const json* json_fields::find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool json_fields::has_null(const char* key) const {
  const auto found = object_.find(key);
  return found != object_.end() && found->is_null();
}

json_fields json_fields::object(const char* key) const {
  static const json empty = json::object();
  const auto* value = find(key);
  return {value != nullptr && value->is_object() ? *value : empty, file_, prefix_ + key + "."};
}

std::int32_t json_fields::integer(const char* key, std::int64_t low, std::int64_t high,
                                  std::optional<std::int64_t> fallback) {
  const auto* value = find(key);
  if (value == nullptr && fallback && *fallback >= low && *fallback <= high) return std::int32_t(*fallback);
  if (value == nullptr || !is_integer_in(*value, low, high))
    return fail(key, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high)),
           std::int32_t(low);
  return value->get<std::int32_t>();
}

double json_fields::real(const char* key, double low, double high, double fallback) {
  const auto* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high))
    return fail(key, "must be a number from " + json(low).dump() + " to " + json(high).dump()), fallback;
  return value->get<double>();
}

bool json_fields::boolean(const char* key, bool fallback) {
  const auto* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return fail(key, "must be true or false"), fallback;
  return value->get<bool>();
}

std::vector<std::int32_t> json_fields::integers(const char* key, std::int64_t high) {
  const auto* value = find(key);
  std::vector<std::int32_t> list;
  if (value == nullptr) return list;
  for (const auto& entry : value->is_array() ? *value : json::array({*value})) {
    if (!is_integer_in(entry, 0, high))
      return fail(key, "must be a whole number from 0 to " + std::to_string(high) + ", or a list of them"), list;
    list.push_back(entry.get<std::int32_t>());
  }
  return list;
}

std::vector<std::string> json_fields::words(const char* key) {
  const auto* value = find(key);
  std::vector<std::string> list;
  if (value == nullptr) return list;
  if (!value->is_array()) return fail(key, "must be a list of strings"), list;
  for (const auto& entry : *value) {
    if (!entry.is_string()) return fail(key, "must be a list of strings"), list;
    list.push_back(entry.get<std::string>());
  }
  return list;
}

void json_fields::fail(const char* key, const std::string& what, errc code) {
  if (problem_) return;
  const auto* value = find(key);
  problem_ = failure{code, std::string(file_) + ": " + prefix_ + key + " " + what +
                               (value ? ", not " + shown_json(*value) : "; it is missing")};
}

} // namespace quadrant::model
