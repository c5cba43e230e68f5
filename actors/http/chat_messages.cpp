#include "actors/http/chat_messages.hpp"

#include <algorithm>
#include <array>

namespace quadrant::actors::http {
namespace {

using json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 5> roles = {"system", "developer", "user", "assistant", "tool"};
constexpr std::size_t max_tools = 128, max_calls = 128;

std::string at(const std::string& list, std::size_t index) { return list + "[" + std::to_string(index) + "]"; }

/// The field, or nullptr where it is absent or null.
const json* member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// Nothing, with the problem noted, where the text is none.
std::string read_parts(request_fields& fields, const json& parts, const std::string& field) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& part = parts[i];
    const auto where = at(field, i);
    if (!part.is_object()) return fields.wrong(where, "an object", &part), std::string();
    const auto* type = member(part, "type");
    const auto* words = member(part, "text");
    if (type != nullptr && *type == "refusal") continue;
    if (type == nullptr || *type != "text")
      return fields.wrong(where + ".type", "\"text\": this model reads text only"), std::string();
    if (words == nullptr || !words->is_string()) return fields.wrong(where + ".text", "a string"), std::string();
    if (i > 0) text += '\n';
    text += words->get_ref<const std::string&>();
  }
  return text;
}

/// may_be_null: the message says something else.
json read_content(request_fields& fields, const json& message, const std::string& where, bool may_be_null) {
  const auto* value = member(message, "content");
  const auto field = where + ".content";
  if (value == nullptr) {
    if (!may_be_null) fields.wrong(field, "there: a string, or a list of text parts");
    return nullptr;
  }
  if (value->is_string()) return *value;
  if (!value->is_array() || value->empty())
    return fields.wrong(field, "a string, or a list of one or more text parts", value), nullptr;
  return read_parts(fields, *value, field);
}

/// The arguments as JSON text.
json read_arguments(request_fields& fields, const json& function, const std::string& where) {
  const auto* value = member(function, "arguments");
  if (value == nullptr) return "{}";
  if (value->is_object()) return value->dump();
  const auto is_object = [](const std::string& text) {
    return text.empty() || std::holds_alternative<json>(parse_object(text));
  };
  if (value->is_string() && is_object(value->get_ref<const std::string&>())) return *value;
  return fields.wrong(where + ".arguments", "the JSON text of an object"), nullptr;
}

json read_calls(request_fields& fields, const json& calls, const std::string& where) {
  auto list = json::array();
  if (!calls.is_array() || calls.size() > max_calls)
    return fields.wrong(where, "a list of up to 128 calls", &calls), list;
  for (std::size_t i = 0; i < calls.size() && !fields.problem(); ++i) {
    const auto& call = calls[i];
    const auto place = at(where, i);
    if (!call.is_object()) return fields.wrong(place, "an object", &call), list;
    const auto* type = member(call, "type");
    const auto* id = member(call, "id");
    const auto* function = member(call, "function");
    if (type != nullptr && *type != "function") return fields.wrong(place + ".type", "\"function\""), list;
    if (id != nullptr && !id->is_string()) return fields.wrong(place + ".id", "a string", id), list;
    const auto* name = function != nullptr && function->is_object() ? member(*function, "name") : nullptr;
    if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty())
      return fields.wrong(place + ".function", "an object with a name, and arguments"), list;
    json one = {{"type", "function"},
                {"function", {{"name", *name}, {"arguments", read_arguments(fields, *function, place + ".function")}}}};
    if (id != nullptr) one["id"] = *id;
    list.push_back(std::move(one));
  }
  return list;
}

/// Takes over fields that are strings.
void keep_text(request_fields& fields, const json& from, const std::string& where, const char* key, json& to) {
  const auto* value = member(from, key);
  if (value == nullptr) return;
  if (!value->is_string()) return fields.wrong(where + "." + key, "a string", value);
  to[key] = *value;
}

json read_message(request_fields& fields, const json& message, const std::string& where) {
  if (!message.is_object()) return fields.wrong(where, "an object", &message), nullptr;
  const auto* role = member(message, "role");
  if (role == nullptr || !role->is_string() ||
      std::ranges::find(roles, role->get_ref<const std::string&>()) == roles.end())
    return fields.wrong(where + ".role", "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\""), nullptr;
  json to = {{"role", *role}};
  const bool assistant = *role == "assistant";
  const auto* calls = assistant ? member(message, "tool_calls") : nullptr;
  const bool calls_tools = calls != nullptr && (!calls->is_array() || !calls->empty());
  const bool refuses = assistant && member(message, "refusal") != nullptr;
  to["content"] = read_content(fields, message, where, calls_tools || refuses);
  if (refuses && !calls_tools && to["content"].is_null()) to["content"] = "";
  keep_text(fields, message, where, "name", to);
  if (assistant) keep_text(fields, message, where, "reasoning_content", to);
  if (*role == "tool") keep_text(fields, message, where, "tool_call_id", to);
  if (calls_tools) to["tool_calls"] = read_calls(fields, *calls, where + ".tool_calls");
  return to;
}

} // namespace

json read_messages(request_fields& fields) {
  auto list = json::array();
  const auto* value = fields.find("messages");
  if (value == nullptr || !value->is_array() || value->empty())
    return fields.wrong("messages", "a list of one or more {\"role\", \"content\"}", value), list;
  for (std::size_t i = 0; i < value->size() && !fields.problem(); ++i)
    list.push_back(read_message(fields, (*value)[i], at("messages", i)));
  return list;
}

json read_tools(request_fields& fields) {
  const auto* value = fields.find("tools");
  if (value == nullptr) return nullptr;
  if (!value->is_array() || value->size() > max_tools)
    return fields.wrong("tools", "a list of up to 128 functions", value), nullptr;
  for (std::size_t i = 0; i < value->size(); ++i) {
    const auto& tool = (*value)[i];
    const auto where = at("tools", i);
    if (!tool.is_object()) return fields.wrong(where, "an object", &tool), nullptr;
    const auto* type = member(tool, "type");
    if (type == nullptr || *type != "function") return fields.wrong(where + ".type", "\"function\""), nullptr;
    const auto* function = member(tool, "function");
    const auto* name = function != nullptr && function->is_object() ? member(*function, "name") : nullptr;
    if (name == nullptr || !name->is_string() || name->get_ref<const std::string&>().empty())
      return fields.wrong(where + ".function", "an object with a name"), nullptr;
    const auto* parameters = member(*function, "parameters");
    if (parameters != nullptr && !parameters->is_object())
      return fields.wrong(where + ".function.parameters", "an object", parameters), nullptr;
  }
  return value->empty() ? json(nullptr) : *value;
}

} // namespace quadrant::actors::http
