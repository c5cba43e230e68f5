#include <map>
#include <set>

#include "model/text/utf8.hpp"
#include "model/tokenizer.hpp"
#include "test/model/character_vocabulary.hpp"
#include "test/model/support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;
using nlohmann::json;
using ids = std::vector<std::int32_t>;

namespace {

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const auto n : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, int(pieces.size()))))
    text += pieces[std::size_t(n)];
  return text;
}

/// Words, spaces, tokens, characters that the vocabulary lacks; no mark, which is read as a space.
std::string random_text() {
  static const std::vector<std::string> pieces = {"a",
                                                  "b",
                                                  "c",
                                                  "\u00e9",
                                                  "abc",
                                                  " ",
                                                  "  ",
                                                  "\n",
                                                  "x",
                                                  "\u00df",
                                                  "<s>",
                                                  "</s>",
                                                  "<0x41>",
                                                  "<unk>",
                                                  "<",
                                                  "s>",
                                                  "\U0001f3bb",
                                                  "e\u0301",
                                                  std::string(1, '\0'),
                                                  "\u3000"};
  return joined(pieces);
}

/// One of the ways that such a file may say the same.
json random_file() {
  auto file = character_vocabulary();
  if (*rc::gen::arbitrary<bool>()) {
    file["normalizer"] = nullptr;
    file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"split", *rc::gen::arbitrary<bool>()}};
    file["pre_tokenizer"]["prepend_scheme"] = *rc::gen::element("always", "first", "never");
  }
  for (const auto* flag : {"byte_fallback", "fuse_unk", "ignore_merges"})
    file["model"][flag] = *rc::gen::arbitrary<bool>();
  for (auto& token : file["added_tokens"]) token["normalized"] = *rc::gen::arbitrary<bool>();
  return file;
}

tokenizer made(const json& file) {
  auto t = tokenizer::parse(file.dump(), "t.json");
  RC_ASSERT(t.ok());
  return std::move(t).value();
}

using symbols = std::vector<std::string>;

/// Merges of random characters, and whether one of them reaches from a word into the next.
std::vector<std::pair<std::string, std::string>> random_merges(std::set<std::string>& tokens) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (int count = *rc::gen::inRange(0, 14); count > 0; --count) {
    const std::vector<std::string> known(tokens.begin(), tokens.end());
    const auto &left = *rc::gen::elementOf(known), &right = *rc::gen::elementOf(known);
    merges.emplace_back(left, right);
    tokens.insert(left + right);
  }
  return merges;
}

/// Merges by the book: again and again the pair of lowest rank, leftmost first.
symbols merged_by_the_book(symbols text, const std::vector<std::pair<std::string, std::string>>& merges) {
  std::map<std::pair<std::string, std::string>, std::size_t> ranks;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) ranks[merges[rank]] = rank;
  while (true) {
    std::size_t best = text.size(), best_rank = merges.size();
    for (std::size_t i = 0; i + 1 < text.size(); ++i)
      if (const auto found = ranks.find({text[i], text[i + 1]}); found != ranks.end() && found->second < best_rank)
        best = i, best_rank = found->second;
    if (best == text.size()) return text;
    text[best] += text[best + 1];
    text.erase(text.begin() + std::ptrdiff_t(best) + 1);
  }
}

} // namespace

TEST_CASE("a tokenizer whose vocabulary is of characters keeps the laws") {
  const auto t = made(character_vocabulary());
  property(
      "decode(encode(text)) is the text",
      [&] {
        const auto text = random_text();
        RC_ASSERT(t.decode(t.encode(text, special_tokens::as_text), false) == text);
      },
      400);
  property(
      "no client text gives a control token, however it is cut into spans and whatever the file says",
      [] {
        const auto subject = made(random_file());
        const auto text = random_text() + *rc::gen::element("", "\xff", "\u2581<s>");
        for (const auto id : subject.encode(text, special_tokens::as_text)) RC_ASSERT(!subject.is_control(id));
        const auto cut = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
        const std::vector<text_span> spans = {{std::string_view(text).substr(0, cut), false},
                                              {std::string_view(text).substr(cut), false}};
        for (const auto id : subject.encode_spans(spans)) RC_ASSERT(!subject.is_control(id));
      },
      400);
  property(
      "a client's text between the operator's adds no control token to theirs",
      [] {
        const auto subject = made(random_file());
        const auto text = "x" + random_text();
        const std::vector<text_span> spans = {{"<s>a ", true}, {text, false}, {" b</s>", true}};
        const auto encoded = subject.encode_spans(spans);
        const auto count = [&](std::int32_t id) { return std::ranges::count(encoded, id); };
        RC_ASSERT(count(1) <= 1);
        RC_ASSERT(count(2) <= 1);
        RC_ASSERT(count(0) == 0); // <unk>
      },
      400);
  property(
      "trusted spans are read like one text",
      [] {
        const auto subject = made(random_file());
        const auto text = random_text();
        const auto cut = any_cut(text);
        const std::vector<text_span> spans = {{std::string_view(text).substr(0, cut), true},
                                              {std::string_view(text).substr(cut), true}};
        RC_ASSERT(subject.encode_spans(spans) == subject.encode(text, special_tokens::parse));
      },
      300);
  property(
      "streaming any ids gives whole characters that add up to decode, or to it with its first space",
      [&] {
        const auto stream = *rc::gen::container<ids>(
            rc::gen::oneOf(rc::gen::inRange(-2, 272), rc::gen::inRange(259, 269), rc::gen::just(std::int32_t(mark)),
                           rc::gen::inRange(byte_0 + 128, byte_0 + 256)));
        const bool skip = *rc::gen::arbitrary<bool>();
        token_decoder own(t, skip), continued(t, skip, text_start::continued);
        std::string whole, rest;
        for (const auto id : stream) {
          const auto text = own.push(id);
          std::string valid;
          utf8::append_valid(text, valid);
          RC_ASSERT(valid == text);
          whole += text, rest += continued.push(id);
        }
        whole += own.flush(), rest += continued.flush();
        RC_ASSERT(whole == t.decode(stream, skip));
        RC_ASSERT(rest == (rest.starts_with(' ') ? " " : "") + whole);
      },
      600);
  property(
      "a text is merged by the book, whether or not its merges keep to words",
      [] {
        std::set<std::string> tokens = {"\u2581", "a", "b"};
        const auto merges = random_merges(tokens);
        auto file = character_vocabulary();
        auto& vocab = file["model"]["vocab"];
        for (const auto& token : tokens)
          if (!vocab.contains(token)) vocab[token] = 300 + int(vocab.size());
        file["model"]["merges"] = json::array();
        for (const auto& [left, right] : merges) file["model"]["merges"].push_back({left, right});
        const auto text = *rc::gen::nonEmpty(rc::gen::container<symbols>(rc::gen::elementOf(symbols{" ", "a", "b"})));
        symbols marked = {"\u2581"};
        for (const auto& c : text) marked.push_back(c == " " ? "\u2581" : c);
        ids expected;
        for (const auto& token : merged_by_the_book(marked, merges)) expected.push_back(vocab[token].get<int>());
        std::string whole;
        for (const auto& c : text) whole += c;
        RC_ASSERT(made(file).encode(whole, special_tokens::as_text) == expected);
      },
      500);
}

TEST_CASE("no bytes crash the reader of a tokenizer.json that has every stage") {
  auto file = character_vocabulary();
  for (auto entry = file["model"]["vocab"].begin(); entry != file["model"]["vocab"].end();)
    entry = entry.value() < 8 || entry.value() > 250 ? std::next(entry) : file["model"]["vocab"].erase(entry);
  file["pre_tokenizer"] = {{"type", "Sequence"},
                           {"pretokenizers",
                            {{{"type", "Split"}, {"pattern", {{"Regex", "[.,]|\\s+$"}}}, {"behavior", "Isolated"}},
                             {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "first"}}}}};
  file["normalizer"]["normalizers"].push_back({{"type", "NFC"}});
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
        const auto text = random_text();
        for (const auto how : {special_tokens::parse, special_tokens::as_text}) {
          const auto encoded = t->encode(text, how);
          for (const auto id : encoded) RC_ASSERT(id >= 0 && id < t->vocab_size());
          for (const auto id : encoded) RC_ASSERT(how == special_tokens::parse || !t->is_control(id));
          (void)t->decode(encoded, false);
        }
      },
      800);
}
