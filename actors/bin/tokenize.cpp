// quadrant tokenize, quadrant detokenize: text to token ids and back, many a second; for checks against other programs.
#include <charconv>

#include "actors/bin/commands.hpp"
#include "actors/bin/json_lines.hpp"
#include "actors/bin/session.hpp"
#include "model/tokenizer.hpp"

namespace quadrant::bin {
namespace {

using nlohmann::ordered_json;

result<void> append_ids(const model::tokenizer& tokens, const ordered_json& asked, std::string& to) {
  if (!asked.is_string()) return {errc::invalid_argument, "is to be a JSON string"};
  const auto ids = tokens.encode(asked.get_ref<const std::string&>(), model::special_tokens::parse);
  to += '[';
  for (const char* gap = ""; const auto id : ids) {
    char digits[16];
    const char* end = std::to_chars(digits, digits + sizeof digits, id).ptr;
    to.append(std::exchange(gap, ",")).append(digits, std::size_t(end - digits));
  }
  to += ']';
  return {};
}

result<void> append_text(const model::tokenizer& tokens, const ordered_json& asked, std::string& to) {
  const failure wrong{errc::invalid_argument, "is to be a JSON list of token ids, like [1,2,3]"};
  if (!asked.is_array()) return wrong;
  std::vector<std::int32_t> ids;
  ids.reserve(asked.size());
  for (const auto& id : asked) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > INT32_MAX) return wrong;
    ids.push_back(id.get<std::int32_t>());
  }
  append_json(tokens.decode(ids, /*skip_special=*/false), to);
  return {};
}

using conversion = result<void> (*)(const model::tokenizer&, const ordered_json&, std::string&);

command add_conversion(CLI::App& program, const char* name, const char* help, conversion convert) {
  auto* app = program.add_subcommand(name, help);
  const auto place = std::make_shared<std::string>();
  app->add_option("model", *place, "directory of a checkpoint, or its tokenizer.json")->required();
  return {app, [place, convert] {
            const auto tokens = model::tokenizer::open(*place);
            if (!tokens) return fail(tokens.error());
            const auto done = answer_lines([&](const auto& asked, auto& to) { return convert(*tokens, asked, to); });
            return done ? 0 : fail(done.error());
          }};
}

} // namespace

command add_tokenize(CLI::App& program) {
  return add_conversion(program, "tokenize", "Token ids of the texts on standard input: a JSON string a line",
                        append_ids);
}

command add_detokenize(CLI::App& program) {
  return add_conversion(program, "detokenize", "Texts of the token ids on standard input: a JSON list a line",
                        append_text);
}

} // namespace quadrant::bin
