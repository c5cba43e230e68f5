// Vocabularies of characters: SentencePiece's, as tokenizer.json has them (Mixtral, Llama 2).
#include "model/tokenizer.hpp"
#include "test/model/character_vocabulary.hpp"
#include "test/model/support.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;
using nlohmann::json;
using ids = std::vector<std::int32_t>;

namespace {

tokenizer made(const json& file) {
  auto t = tokenizer::parse(file.dump(), "t.json");
  REQUIRE_MESSAGE(t.ok(), t.error().message);
  return std::move(t).value();
}

ids encoded(const json& file, std::string_view text, special_tokens how = special_tokens::parse) {
  return made(file).encode(text, how);
}

json changed(const char* where, const json& value) {
  auto file = character_vocabulary();
  file[json::json_pointer(where)] = value;
  return file;
}

json with_metaspace(const char* scheme, bool split) {
  auto file = changed("/normalizer", nullptr);
  file["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}, {"split", split}};
  return file;
}

std::string refusal(const json& file) {
  const auto t = tokenizer::parse(file.dump(), "t.json");
  REQUIRE(!t.ok());
  CHECK(t.error().message.starts_with("t.json: "));
  CHECK(t.error().message.find('\n') == std::string::npos);
  return t.error().message;
}

} // namespace

TEST_CASE("a character without a token is its bytes, else the unknown token, else nothing") {
  CHECK(encoded(character_vocabulary(), "a\u00e9\u00dfb") ==
        ids{mark_a, letter_e, byte_0 + 0xC3, byte_0 + 0x9F, letter_b});
  auto file = character_vocabulary();
  file["model"]["vocab"].erase("<0xC3>"); // all of its bytes, or none
  CHECK(encoded(file, "\u00df\u00dfb\u00df") == ids{mark, 0, letter_b, 0});
  file["model"]["byte_fallback"] = false;
  CHECK(encoded(file, "xyb") == ids{mark, 0, letter_b});
  file["model"]["fuse_unk"] = false;
  CHECK(encoded(file, "xyb") == ids{mark, 0, 0, letter_b});
  file["model"]["unk_token"] = nullptr;
  CHECK(encoded(file, "xyb") == ids{mark, letter_b});
}

TEST_CASE("text does not find the tokens of bytes") {
  const auto t = made(changed("/model/ignore_merges", true));
  CHECK(t.encode("<0x41>", special_tokens::parse).size() == 7);
  CHECK(t.encode("A", special_tokens::parse) == ids{mark, byte_0 + 0x41});
  auto file = character_vocabulary();
  file["model"]["vocab"]["<0xC3><0x9F>"] = 300;
  file["model"]["merges"].push_back("<0xC3> <0x9F>"); // but merges may
  CHECK(encoded(file, "\u00df") == ids{mark, 300});
}

TEST_CASE("each stretch between added tokens gets its mark") {
  CHECK(encoded(character_vocabulary(), "<s>ab</s>b c") == ids{1, mark_a_b, 2, mark, letter_b, mark, letter_c});
  CHECK(encoded(character_vocabulary(), " ab") == ids{two_marks, a_b}); // beside the text's own space
  CHECK(encoded(character_vocabulary(), "").empty());
  CHECK(encoded(character_vocabulary(), "<s></s>") == ids{1, 2});
}

TEST_CASE("normalizers work in their order, on added tokens too") {
  auto file = character_vocabulary();
  auto& steps = file["normalizer"]["normalizers"];
  steps.insert(steps.begin(), json{{"type", "Replace"}, {"pattern", {{"Regex", "x{2,}"}}}, {"content", "e\u0301"}});
  steps.insert(steps.begin() + 1, json{{"type", "NFC"}});
  CHECK(encoded(file, "axxxb") == ids{mark_a, letter_e, letter_b});
  file["added_tokens"].push_back({{"id", 300}, {"content", "b c"}, {"normalized", true}}); // found as ▁b▁c
  CHECK(encoded(file, "a b c") == ids{mark_a, 300});
  CHECK(encoded(file, "ab c") == ids{mark_a_b, mark, letter_c});
}

TEST_CASE("Metaspace marks what its scheme says") {
  CHECK(encoded(with_metaspace("always", false), "b<s>b") == ids{mark, letter_b, 1, mark, letter_b});
  CHECK(encoded(with_metaspace("first", false), "b<s>b") == ids{mark, letter_b, 1, letter_b});
  CHECK(encoded(with_metaspace("first", false), "<s>b") == ids{1, letter_b});
  CHECK(encoded(with_metaspace("never", false), "b b") == ids{letter_b, mark, letter_b});
  CHECK(encoded(with_metaspace("always", false), " b") == ids{mark, letter_b}); // it has one
  CHECK(encoded(with_metaspace("always", false), "b  c") == ids{mark, letter_b, two_marks, letter_c});
  CHECK(encoded(with_metaspace("always", true), "b  c") == ids{mark, letter_b, mark, mark, letter_c});

  auto older = with_metaspace("always", true);
  older["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"add_prefix_space", false}};
  CHECK(encoded(older, "b  b") == ids{letter_b, mark, mark, letter_b});
  older["pre_tokenizer"]["add_prefix_space"] = true;
  CHECK(encoded(older, "b") == ids{mark, letter_b});
}

TEST_CASE("a merge may reach from one word into the next") {
  auto file = character_vocabulary();
  CHECK(encoded(file, "ab ab") == ids{mark_a_b, mark_a_b});
  file["model"]["vocab"]["b\u2581"] = 300;
  file["model"]["merges"].insert(file["model"]["merges"].begin(), "b \u2581");
  CHECK(encoded(file, "ab ab") == ids{mark_a, 300, a_b});
}

TEST_CASE("decoding takes away the space that encoding put in front of a text") {
  const auto t = made(character_vocabulary());
  CHECK(t.decode(ids{mark_a, mark, letter_b}, true) == "a b");
  CHECK(t.decode(ids{two_marks, letter_b}, true) == " b");
  CHECK(t.decode(ids{1, mark_a}, true) == "a");
  CHECK(t.decode(ids{1, mark_a}, false) == "<s> a");
  CHECK(t.decode(ids{byte_0 + ' ', letter_b}, true) == "b");
  CHECK(t.decode(ids{letter_a, byte_0 + 0xC3, byte_0 + 0x9F, byte_0 + 0xC3, letter_b}, true) == "a\u00df\ufffdb");
  CHECK(t.bytes_of(mark_a) == " a");
  CHECK(t.id_of("\u2581a") == mark_a);

  token_decoder own(t);
  CHECK(own.push(1).empty());
  CHECK(own.push(mark).empty());
  CHECK(own.push(mark_a) == " a");
  token_decoder continued(t, true, text_start::continued);
  CHECK(continued.push(mark_a) == " a");

  auto file = character_vocabulary();
  file["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}};
  CHECK(made(file).decode(ids{two_marks, letter_b, byte_0 + 'A'}, true) == " b<0x41>");
  file["decoder"]["prepend_scheme"] = "never";
  CHECK(made(file).decode(ids{mark_a}, true) == " a");
}

TEST_CASE("a client's text is no control token, not even where it is unknown") {
  auto file = changed("/model/byte_fallback", false);
  CHECK(encoded(file, "<s>x", special_tokens::parse) == ids{1, mark, 0});
  CHECK(encoded(file, "<s>x", special_tokens::as_text) == ids{mark}); // no letter of it has a token
  file["model"]["unk_token"] = "c";
  CHECK(encoded(file, "x", special_tokens::as_text) == ids{mark, letter_c});

  for (auto& token : file["added_tokens"]) token["normalized"] = true; // found as ▁<s>
  CHECK(encoded(file, "<s>", special_tokens::parse) == ids{1});
  const auto t = made(file);
  const auto count = [&](std::vector<text_span> spans) { return std::ranges::count(t.encode_spans(spans), 1); };
  CHECK(count({{"<s>", true}}) == 1);
  CHECK(count({{"<s>", false}}) == 0);
  CHECK(count({{"a", true}, {" <s>", false}}) == 0);
  CHECK(count({{"a ", true}, {"<s>", false}}) == 0);
  CHECK(count({{"a", false}, {" <s>", true}}) == 1);
  CHECK(count({{" ", false}, {"<s>", true}}) == 0); // the mark is part of it now
}

TEST_CASE("what is not known of a decoder or a pre_tokenizer is one line") {
  const auto says = [](const std::string& message, const char* what) {
    INFO(message);
    return message.find(what) != std::string::npos;
  };
  CHECK(says(refusal(changed("/decoder", nullptr)), "no decoder"));
  CHECK(says(refusal(changed("/decoder", {{"type", "ByteLevel"}})), "without a ByteLevel pre_tokenizer"));
  CHECK(says(refusal(changed("/decoder/decoders/3/stop", 1)), "Strip at the end"));
  CHECK(says(refusal(changed("/decoder/decoders/3/start", "x")), "Strip has no start"));
  CHECK(says(refusal(changed("/decoder/decoders/2/type", "CTC")), "decoder \"CTC\""));
  CHECK(says(refusal(changed("/decoder/decoders/0/pattern", {{"Regex", "x"}})), "without a String"));
  auto late = character_vocabulary();
  std::swap(late["decoder"]["decoders"][0], late["decoder"]["decoders"][2]);
  CHECK(says(refusal(late), "after Fuse"));
  auto file = with_metaspace("second", true);
  CHECK(says(refusal(file), "prepend_scheme"));
  file["pre_tokenizer"] = {{"type", "Metaspace"}};
  CHECK(says(refusal(file), "no replacement"));
  file["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  CHECK(says(refusal(file), "Metaspace"));
}
