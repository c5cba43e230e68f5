// quadrant template: requests through a checkpoint's chat template; for checks against other programs.
#include "actors/bin/commands.hpp"
#include "actors/bin/json_lines.hpp"
#include "actors/bin/session.hpp"
#include "actors/checkpoint_template.hpp"

namespace quadrant::bin {
namespace {

using nlohmann::ordered_json;

/// Takes the field out of `request`; null where it has none.
ordered_json take(ordered_json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end()) return nullptr;
  auto value = std::move(*found);
  request.erase(found);
  return value;
}

/// What a template makes of a request is an answer, an error too: templates refuse what they do not expect.
result<void> append_prompt(const actors::checkpoint_template& shape, ordered_json request, std::string& to) {
  if (!request.is_object()) return {errc::invalid_argument, "is to be a JSON object with messages"};
  const auto messages = take(request, "messages");
  auto tools = take(request, "tools");
  const auto with_opening = take(request, "add_generation_prompt");
  const auto prompt = shape.render(messages, {.add_generation_prompt = with_opening == true,
                                              .tools = std::move(tools),
                                              .extra = std::move(request),
                                              .now = std::chrono::system_clock::now()});
  to += prompt ? "{\"text\":" : "{\"error\":";
  append_json(prompt ? prompt->text : prompt.error().message, to);
  to += '}';
  return {};
}

} // namespace

command add_template(CLI::App& program) {
  auto* app = program.add_subcommand("template", "Prompts of the requests on standard input: a JSON object a line");
  const auto place = std::make_shared<std::string>();
  app->add_option("model", *place, "directory of a checkpoint, or its tokenizer_config.json")->required();
  return {app, [place] {
            const auto shape = actors::checkpoint_template::open(*place);
            if (!shape) return fail(shape.error());
            if (const auto given = shape->given(); !given) return fail(given.error());
            const auto done =
                answer_lines([&](const auto& asked, auto& to) { return append_prompt(*shape, asked, to); });
            return done ? 0 : fail(done.error());
          }};
}

} // namespace quadrant::bin
