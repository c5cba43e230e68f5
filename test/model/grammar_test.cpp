#include "model/grammar/grammar.hpp"
#include "test/model/grammar_support.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

namespace {

std::unique_ptr<grammar_state> started(const tokenizer& tokens, std::int32_t stop, text_start how = text_start::own) {
  const std::vector<std::int32_t> stops = {stop};
  auto vocabulary = grammar_vocabulary::build(tokens, tokens.vocab_size(), stops);
  REQUIRE(vocabulary.ok());
  const auto made = json_object_grammar(*vocabulary);
  REQUIRE(made.ok());
  return (*made)->start(how); // outlives its grammar
}

} // namespace

TEST_CASE("a real answer is taken, token by token as the tokenizer cuts it") {
  const auto tokens = tokenizer::open(default_model());
  REQUIRE(tokens.ok());
  const auto document = nlohmann::json::parse(
      R"({"word": "violin", "étude": [1, -2.5e-7, true, null, {}], "nested": {"a": [[], {"b": "日本 \u0000 \" \\ 🎻"}]}})");
  for (const int indent : {-1, 2, 4, 8})
    for (const bool ascii : {false, true}) {
      const auto text = document.dump(indent, ' ', ascii);
      const auto state = started(*tokens, 4095);
      for (const auto id : tokens->encode(text, special_tokens::as_text)) {
        CHECK(allows(*state->mask(), id));
        CHECK_FALSE(allows(*state->mask(), 4095));
        CHECK_FALSE(state->complete());
        REQUIRE_MESSAGE(state->advance(id), text);
      }
      CHECK(state->complete());
      CHECK(state->advance(4095));
      CHECK_FALSE(state->advance(4093)); // a special token, but none that stops
    }
}

TEST_CASE("four blanks a level fit for 15 levels") {
  const auto tokens = tokenizer::open(default_model());
  REQUIRE(tokens.ok());
  nlohmann::json document = "deep";
  for (int level = 0; level < 15; ++level) document = {{"k", document}};
  const auto state = started(*tokens, 4095);
  for (const auto id : tokens->encode(document.dump(4), special_tokens::as_text)) REQUIRE(state->advance(id));
  CHECK(state->complete());
}

TEST_CASE("a text's first space is not seen by the client, nor by the grammar") {
  const auto tokens = character_level();
  const auto token = [&](const char* text) { return *tokens.id_of(text); };
  const auto own = started(tokens, 2);
  for (const auto* text : {"▁{", "{\"", "{", "▁", "▁▁▁▁", "▁▁{"})
    CHECK_MESSAGE(allows(*own->mask(), token(text)), std::string(text));
  for (const auto* text : {"▁a", "a", "▁1", "}", "▁}", "<s>", "</s>", "<unk>"})
    CHECK_FALSE_MESSAGE(allows(*own->mask(), token(text)), std::string(text));

  for (const char byte : {' ', '\n', '{'}) CHECK(allows(*own->mask(), byte_0 + byte));
  for (const int byte : {0x00, int('a'), int('}'), 0xC3}) CHECK_FALSE(allows(*own->mask(), byte_0 + byte));

  // 64 blanks are the most; those that are not seen come on top.
  const auto blanks_before = [&](int most_lead, text_start how) {
    const auto state = started(character_level(most_lead), 2, how);
    int said = 0;
    while (said < 100 && state->advance(token("▁"))) ++said;
    CHECK(state->advance(token("{")));
    return said;
  };
  for (const int most_lead : {0, 1, 2}) {
    CHECK(blanks_before(most_lead, text_start::own) == json_automaton::max_blanks + most_lead);
    CHECK(blanks_before(most_lead, text_start::continued) == json_automaton::max_blanks);
  }
}

TEST_CASE("strings that begin alike share nodes") {
  const byte_trie trie({{"be", 3}, {"ant", 2}, {"a", 0}, {"an", 1}, {"a", 9}});
  CHECK(trie.memory_bytes() == (5 + 1) * 12 + 5 * 4);
  const auto a = trie.find(trie.all(), 'a');
  CHECK(std::vector(a.ids.begin(), a.ids.end()) == std::vector{0, 9});
  CHECK(trie.find(a.below, 'n').ids.size() == 1);
  CHECK(trie.find(a.below, 't').ids.empty());
  CHECK(trie.most_of("aet") == 2);
  CHECK(byte_trie({}).most_of("a") == 0);
}

TEST_CASE("special tokens, control tokens and empty ones are no text") {
  const auto tokens = byte_level(every_byte());
  const auto end = tokens.vocab_size() - 1;
  const auto state = started(tokens, end);
  for (const char c : {'{', '"'}) REQUIRE(state->advance(*tokens.id_of({&c, 1})));
  for (auto id = end - 2; id <= end; ++id) CHECK_FALSE(allows(*state->mask(), id));
  const auto plain = tokenizer::open(default_model());
  const std::vector<std::int32_t> stops = {4095};
  const auto vocabulary = grammar_vocabulary::build(*plain, 4096, stops);
  REQUIRE(vocabulary.ok());
  for (std::int32_t id = 4093; id < 4096; ++id) CHECK_FALSE((*vocabulary)->speaks(id));
  for (const auto id : {-1, 4096, 1 << 30}) CHECK_FALSE((*vocabulary)->speaks(id));
}

TEST_CASE("a vocabulary that could leave an answer without a next token is refused in a line") {
  const auto problem_of = [](std::set<std::string> tokens) -> std::string {
    const auto made = byte_level(tokens);
    const std::vector<std::int32_t> stops = {made.vocab_size() - 1};
    const auto vocabulary = grammar_vocabulary::build(made, made.vocab_size(), stops);
    REQUIRE(vocabulary.ok());
    const auto grammar = json_object_grammar(*vocabulary);
    if (grammar) return "";
    CHECK(grammar.error().code == errc::unavailable);
    return grammar.error().message;
  };
  std::set<std::string> least;
  for (const char c : json_automaton::ways_out) least.insert({c});
  CHECK(problem_of(least).empty());
  for (const char c : json_automaton::ways_out) {
    auto lacking = least;
    lacking.erase({c});
    lacking.insert(std::string(2, c)); // twice is not once
    CHECK(problem_of(lacking).find(std::string("'") + c + "'") != std::string::npos);
  }
  least.insert("日"); // whole characters ask for nothing more
  CHECK(problem_of(least).empty());
  least.insert("\xe6\x97");
  CHECK(problem_of(least).find("0x80") != std::string::npos);
  for (const char c : json_automaton::ways_out_of_character) least.insert({c});
  CHECK(problem_of(least).empty());
}

TEST_CASE("a model that cannot end an answer is refused in a line") {
  const auto tokens = byte_level(every_byte());
  for (const auto& stops : {std::vector<std::int32_t>{}, {-1}, {tokens.vocab_size()}, {256}}) {
    const auto made = grammar_vocabulary::build(tokens, stops == std::vector{256} ? 256 : tokens.vocab_size(), stops);
    REQUIRE(!made.ok());
    CHECK(made.error().code == errc::invalid_argument);
    CHECK(made.error().message.find("eos_token_id") != std::string::npos);
  }
  CHECK(!grammar_vocabulary::build(tokens, 0, {}).ok());
  CHECK(!grammar_vocabulary::build(tokens, -3, {}).ok());
  CHECK(!grammar_vocabulary::build(character_level(9), 280, std::vector<std::int32_t>{2}).ok());
}
