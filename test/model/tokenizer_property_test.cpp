#include <map>

#include <utf8proc.h>

#include "model/text/utf8.hpp"
#include "model/tokenizer.hpp"
#include "test/model/support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;
using ids = std::vector<std::int32_t>;

namespace {

/// Text of pieces that are hard on a tokenizer: words, spaces, scripts, marks, emoji, control tokens, broken bytes.
std::string random_text(bool valid) {
  static const std::vector<std::string> pieces = {"the",
                                                  "Violin",
                                                  "'ll",
                                                  "'S",
                                                  " ",
                                                  "  ",
                                                  "\n",
                                                  "\r\n",
                                                  "\t",
                                                  "42",
                                                  "7",
                                                  "!",
                                                  "...",
                                                  "?!",
                                                  "-",
                                                  "<|im_end|>",
                                                  "<|im_start|>",
                                                  "<|",
                                                  "|>",
                                                  "im_end",
                                                  "<",
                                                  "e\u0301",
                                                  "\u00e9",
                                                  "\u0301",
                                                  "\u00df",
                                                  "\u65e5\u672c",
                                                  "\u0939\u093f",
                                                  "\u0645",
                                                  "\U0001f3bb",
                                                  "\U0001f468\u200d\U0001f469",
                                                  "\u1100\u1161\u11a8",
                                                  "\u3000",
                                                  "\u180e",
                                                  "\u212b",
                                                  "\U0010ffff",
                                                  std::string(1, '\0'),
                                                  "\u0378"};
  static const std::vector<std::string> broken = {"\xff", "\xc3", "\xed\xa0\x80", "\xf0\x9f\x8e", "\x80"};
  std::string text;
  for (const auto n : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, int(pieces.size() + broken.size())))) {
    if (std::size_t(n) < pieces.size())
      text += pieces[std::size_t(n)];
    else if (!valid)
      text += broken[std::size_t(n) - pieces.size()];
  }
  return text;
}

std::string composed(const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()),
                                 &out, utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string result(reinterpret_cast<char*>(out), std::size_t(size));
  std::free(out); // NOLINT(cppcoreguidelines-no-malloc)
  return result;
}

/// Merges by the book: again and again the pair of lowest rank, leftmost first.
ids merged_by_the_book(const tokenizer& t, const std::map<std::pair<std::int32_t, std::int32_t>, int>& ranks,
                       const std::string& piece) {
  ids symbols;
  for (const char c : piece) symbols.push_back(*t.id_of({&c, 1}));
  while (true) {
    std::size_t best = symbols.size();
    int best_rank = INT32_MAX;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
      if (const auto found = ranks.find({symbols[i], symbols[i + 1]});
          found != ranks.end() && found->second < best_rank)
        best = i, best_rank = found->second;
    if (best == symbols.size()) return symbols;
    const auto both = std::string(t.bytes_of(symbols[best])) + std::string(t.bytes_of(symbols[best + 1]));
    symbols[best] = *t.id_of(both);
    symbols.erase(symbols.begin() + std::ptrdiff_t(best) + 1);
  }
}

} // namespace

TEST_CASE("the tokenizer of the embedded model keeps its laws") {
  const auto opened = tokenizer::open(default_model());
  REQUIRE(opened.ok());
  const auto& t = *opened;

  property(
      "decode(encode(text)) is the text in form C, control tokens spelt or not",
      [&] {
        const auto text = random_text(true);
        const auto expected = composed(text);
        RC_ASSERT(t.decode(t.encode(text, special_tokens::as_text), true) == expected);
        RC_ASSERT(t.decode(t.encode(text, special_tokens::parse), false) == expected);
      },
      400);
  property(
      "no client text gives a control token, however it is cut into spans",
      [&] {
        const auto text = random_text(false);
        for (const auto id : t.encode(text, special_tokens::as_text)) RC_ASSERT(!t.is_control(id));
        const auto cut = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
        const std::vector<text_span> spans = {{std::string_view(text).substr(0, cut), false},
                                              {std::string_view(text).substr(cut), false}};
        for (const auto id : t.encode_spans(spans)) RC_ASSERT(!t.is_control(id));
      },
      400);
  property(
      "a client's text between the operator's adds no control token to theirs",
      [&] {
        const auto text = random_text(false);
        const std::vector<text_span> spans = {{"<|im_start|>user\n", true}, {text, false}, {"<|im_end|>\n", true}};
        ids control;
        for (const auto id : t.encode_spans(spans))
          if (t.is_control(id)) control.push_back(id);
        RC_ASSERT(control == (ids{*t.id_of("<|im_start|>"), *t.id_of("<|im_end|>")}));
      },
      400);
  property(
      "trusted spans are read like one text",
      [&] {
        const auto text = random_text(true);
        const auto cut = any_cut(text);
        const std::vector<text_span> spans = {{std::string_view(text).substr(0, cut), true},
                                              {std::string_view(text).substr(cut), true}};
        RC_ASSERT(t.encode_spans(spans) == t.encode(text, special_tokens::parse));
      },
      300);
  property(
      "streaming any ids gives whole characters that add up to decode",
      [&] {
        const auto stream = *rc::gen::container<ids>(
            rc::gen::oneOf(rc::gen::inRange(-2, 4100), rc::gen::inRange(0, 256), rc::gen::inRange(128, 256)));
        const bool skip = *rc::gen::arbitrary<bool>();
        token_decoder decoder(t, skip);
        std::string whole;
        for (const auto id : stream) {
          const auto text = decoder.push(id);
          std::string valid;
          utf8::append_valid(text, valid);
          RC_ASSERT(valid == text);
          whole += text;
        }
        whole += decoder.flush();
        RC_ASSERT(whole == t.decode(stream, skip));
      },
      500);

  std::map<std::pair<std::int32_t, std::int32_t>, int> ranks;
  const auto file = nlohmann::json::parse(read_file(default_model() / "tokenizer.json"));
  const auto id_of = [&](const std::string& letters) { return file["model"]["vocab"][letters].get<std::int32_t>(); };
  for (int rank = 0; const auto& merge : file["model"]["merges"]) {
    const auto text =
        merge.is_string() ? merge.get<std::string>() : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    const auto space = text.find(' ');
    ranks.emplace(std::pair(id_of(text.substr(0, space)), id_of(text.substr(space + 1))), rank++);
  }
  property(
      "a word is merged by the book",
      [&] {
        const auto word = *rc::gen::nonEmpty(rc::gen::container<std::string>(
            rc::gen::oneOf(rc::gen::elementOf(std::string("eotainsr")), rc::gen::inRange('a', char('z' + 1)))));
        const auto spaced = *rc::gen::arbitrary<bool>() ? " " + word : word;
        RC_ASSERT(t.encode(spaced, special_tokens::as_text) == merged_by_the_book(t, ranks, spaced));
      },
      300);
}

TEST_CASE("no bytes crash the reader of tokenizer.json") {
  // A small vocabulary, so that a change often meets the structure.
  auto file = nlohmann::json::parse(read_file(default_model() / "tokenizer.json"));
  auto& model = file["model"];
  for (auto entry = model["vocab"].begin(); entry != model["vocab"].end();)
    entry = entry.value() < 300 ? std::next(entry) : model["vocab"].erase(entry);
  auto& merges = model["merges"];
  merges.erase(merges.begin() + 44, merges.end());
  const auto good = file.dump();
  REQUIRE(tokenizer::parse(good, "t").ok());
  property(
      "a changed file gives a tokenizer that works, or one line",
      [&] {
        const auto t = tokenizer::parse(mutated(good, good.size()), "t");
        if (!t) {
          RC_ASSERT(t.error().message.starts_with("t: "));
          RC_ASSERT(t.error().message.find('\n') == std::string::npos);
          return;
        }
        const auto text = random_text(false);
        for (const auto how : {special_tokens::parse, special_tokens::as_text}) {
          const auto encoded = t->encode(text, how);
          for (const auto id : encoded) RC_ASSERT(id >= 0 && id < t->vocab_size());
          (void)t->decode(encoded, false);
        }
      },
      800);
}
