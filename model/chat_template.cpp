#include "model/chat_template.hpp"

#include <utility>

#include "model/jinja/interpreter.hpp"
#include "model/jinja/parser.hpp"

namespace quadrant::model {

std::vector<text_span> rendered_chat::spans() const {
  std::vector<text_span> out;
  std::size_t begin = 0;
  for (const auto& run : trust.runs()) {
    out.push_back({std::string_view(text).substr(begin, run.end - begin), run.trusted});
    begin = run.end;
  }
  return out;
}

result<chat_template> chat_template::parse(std::string source) {
  QUADRANT_TRY(auto program, jinja::parse(source));
  return chat_template(std::move(program));
}

result<rendered_chat> chat_template::render(const nlohmann::ordered_json& messages, const options& with) const {
  using jinja::value;
  if (!messages.is_array()) return {errc::invalid_argument, "messages are to be a list"};
  if (!with.extra.is_null() && !with.extra.is_object())
    return {errc::invalid_argument, "chat template variables are to be an object"};
  jinja::environment around;
  around.now = with.now;
  // Templates ask whether documents are none, not whether they are there.
  around.variables.emplace_back("documents", value::none());
  // The client's own variables come first, so that they cannot stand in for the others.
  for (const auto& [name, json] : with.extra.items()) {
    QUADRANT_TRY(auto v, value::from_json(json));
    around.variables.emplace_back(name, std::move(v));
  }
  QUADRANT_TRY(auto message_list, value::from_json(messages));
  QUADRANT_TRY(auto tools, value::from_json(with.tools));
  around.variables.emplace_back("messages", std::move(message_list));
  around.variables.emplace_back("tools", std::move(tools));
  around.variables.emplace_back("add_generation_prompt", value::boolean(with.add_generation_prompt));
  around.variables.emplace_back("bos_token", value::text(with.bos_token, true));
  around.variables.emplace_back("eos_token", value::text(with.eos_token, true));
  QUADRANT_TRY(auto out, jinja::interpret(*program_, around));
  return rendered_chat{std::move(out.text), std::move(out.trust)};
}

} // namespace quadrant::model
