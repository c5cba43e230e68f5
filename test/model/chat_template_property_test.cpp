#include "model/chat_template.hpp"
#include "model/tokenizer.hpp"
#include "test/model/support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;
using nlohmann::ordered_json;

namespace {

/// Most of what chat templates use, in one.
constexpr const char* rich_template = R"(
{%- set ns = namespace(found=false, last=messages|length - 1) %}
{%- macro show(content, tag='text') -%}
  {%- if content is string -%}{{ content|trim }}
  {%- elif content is iterable and content is not mapping -%}
    {%- for part in content if part.type is defined -%}[{{ loop.index0 }}:{{ part[tag]|default('?', true) }}]{%- endfor -%}
  {%- elif content is none -%}{%- else -%}{{ raise_exception('bad content ' ~ content) }}
  {%- endif -%}
{%- endmacro %}
{%- if tools %}
{{- '<|im_start|>system\n# Tools\n' }}
  {%- for tool in tools %}
    {{- tool|tojson ~ '\n' }}
    {%- for name, spec in (tool.function.parameters.properties or {})|items %}
      {{- name ~ ': ' ~ spec.type|default('any')|upper }}
    {%- endfor %}
  {%- endfor %}
{{- '<|im_end|>\n' }}
{%- endif %}
{%- for m in messages[::-1] %}
  {%- if not ns.found and m.role == 'user' %}
    {%- set ns.found = true %}
    {%- set ns.last = messages|length - 1 - loop.index0 %}
  {%- endif %}
{%- endfor %}
{%- for m in messages %}
  {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) and strict is defined %}
    {{- raise_exception('roles must alternate') }}
  {%- endif %}
{{- '<|im_start|>' + m.role + '\n' + show(m.content) }}
  {%- if m.content is string and '</think>' in m.content and loop.index0 > ns.last %}
    {%- set thought = m.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
    {{- '(' ~ thought[:20] ~ ')' }}
  {%- endif %}
  {%- for call in m.tool_calls or [] %}
    {{- '\n' ~ loop.index ~ call.function.name ~ call.function.arguments|tojson(indent=1) }}
  {%- else %}{{ '' }}
  {%- endfor %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
)";

std::string random_chars() {
  return *rc::gen::container<std::string>(rc::gen::elementOf(std::string("abc <|>\n{}%'\"\\\xc3\xa9\xff")));
}

ordered_json random_value(int depth) {
  switch (*rc::gen::inRange(0, depth > 0 ? 8 : 5)) {
  case 0: return nullptr;
  case 1: return *rc::gen::arbitrary<bool>();
  case 2: return *rc::gen::arbitrary<std::int64_t>();
  case 3: return *rc::gen::elementOf(std::vector<double>{0.5, -1e300, 3});
  case 4:
    return *rc::gen::elementOf(std::vector<std::string>{"user", "<|im_end|>", "<think>a</think>b", random_chars()});
  case 5: {
    auto list = ordered_json::array();
    for (int n = *rc::gen::inRange(0, 4); n > 0; --n) list.push_back(random_value(depth - 1));
    return list;
  }
  default: {
    auto object = ordered_json::object();
    for (int n = *rc::gen::inRange(0, 4); n > 0; --n)
      object[*rc::gen::elementOf(std::vector<std::string>{"role", "content", "type", "text", "function", "name",
                                                          "arguments", "parameters", "properties", "tool_calls"})] =
          random_value(depth - 1);
    return object;
  }
  }
}

ordered_json random_messages() {
  auto list = ordered_json::array();
  for (int n = *rc::gen::inRange(0, 5); n > 0; --n) {
    ordered_json m = {
        {"role", *rc::gen::elementOf(std::vector<std::string>{"user", "assistant", "tool", "<|im_end|>"})},
        {"content", *rc::gen::arbitrary<bool>() ? ordered_json(random_chars() + "<|im_start|>") : random_value(3)}};
    if (*rc::gen::arbitrary<bool>()) m["tool_calls"] = random_value(3);
    list.push_back(*rc::gen::inRange(0, 10) > 0 ? m : random_value(2));
  }
  return list;
}

} // namespace

TEST_CASE("whatever the messages, the only control tokens are the template's") {
  const auto t = chat_template::parse(rich_template);
  REQUIRE_MESSAGE(t.ok(), t.error().message);
  const auto tokens = *tokenizer::open(default_model());
  const auto start = *tokens.id_of("<|im_start|>"), end = *tokens.id_of("<|im_end|>");
  int rendered = 0;
  property(
      "as many starts and ends as the template writes, or one error",
      [&] {
        const auto list = random_messages();
        chat_template::options with;
        with.add_generation_prompt = *rc::gen::arbitrary<bool>();
        if (*rc::gen::arbitrary<bool>()) with.tools = random_value(4);
        const auto chat = t->render(list, with);
        if (!chat) {
          RC_ASSERT(chat.error().code == errc::invalid_argument);
          return;
        }
        ++rendered;
        RC_ASSERT(chat->trust.size() == chat->text.size());
        const auto ids = tokens.encode_spans(chat->spans());
        const auto starts = std::ranges::count(ids, start), ends = std::ranges::count(ids, end);
        RC_ASSERT(starts == ends + (with.add_generation_prompt ? 1 : 0));
        RC_ASSERT(ends - std::int64_t(list.size()) == 0 || ends - std::int64_t(list.size()) == 1); // the tools
      },
      400);
  CHECK(rendered > 50);
}

TEST_CASE("no bytes crash the template engine") {
  const std::string good = rich_template;
  const ordered_json list = {{{"role", "user"}, {"content", "hi <|im_end|>"}},
                             {{"role", "assistant"},
                              {"content", "<think>x</think>y"},
                              {"tool_calls", {{{"function", {{"name", "f"}, {"arguments", {{"a", 1}}}}}}}}},
                             {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "part"}}}}}};
  const auto survives = [&](const std::string& source) {
    const auto t = chat_template::parse(source);
    if (!t) {
      RC_ASSERT(t.error().message.starts_with("chat template, line "));
      return;
    }
    chat_template::options with;
    with.tools = {{{"function", {{"name", "f"}, {"parameters", {{"properties", {{"a", {{"type", "int"}}}}}}}}}}};
    const auto chat = t->render(list, with);
    RC_ASSERT((!chat.ok() || chat->trust.size() == chat->text.size()));
  };
  property(
      "a changed template gives a prompt, or an error", [&] { survives(mutated(good)); }, 1500);
  property(
      "words of the language in any order give a prompt, or an error",
      [&] {
        static const std::vector<std::string> words = {
            "{%",      "%}",    "{{",        "}}",    "{%-",  "-%}",     " ",      "if",     "for",      "in",
            "set",     "macro", "endfor",    "endif", "else", "elif",    "x",      "m",      "messages", "loop",
            ".",       "[",     "]",         "(",     ")",    "|",       "tojson", "length", "is",       "not",
            "defined", "~",     "+",         "-",     "*",    "**",      "//",     "%",      "==",       "<",
            "and",     "or",    ",",         ":",     "'a'",  "1",       "0",      "1.5",    "none",     "true",
            "{",       "}",     "namespace", "range", "map",  "'upper'", "split",  "items",  "=",        "\n"};
        std::string source = "{{ ";
        for (const auto& word : *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(words)))
          source += word + " ";
        survives(source + (*rc::gen::arbitrary<bool>() ? "}}" : ""));
      },
      1500);
}
