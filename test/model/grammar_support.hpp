// test/model/grammar_support.hpp: JSON texts at and around the bounds of json_automaton, a judge of them that shares no
// code with it, and vocabularies made up for grammars.
#pragma once
#include <algorithm>
#include <cctype>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/grammar/json_automaton.hpp"
#include "model/text/byte_alphabet.hpp"
#include "model/tokenizer.hpp"
#include "test/model/character_vocabulary.hpp"
#include "test/model/support.hpp"

namespace quadrant::test {

class random_numbers {
public:
  explicit random_numbers(std::uint64_t seed) : engine_(seed) {}
  /// In [0, n).
  int below(int n) { return int(engine_() % std::uint64_t(n)); }
  bool once_in(int n) { return below(n) == 0; }
  template <class List>
  auto one_of(const List& list) {
    return list[std::size_t(below(int(std::size(list))))];
  }

private:
  std::mt19937_64 engine_;
};

/// Writes JSON that a lenient reader takes: now and then one step over a bound, with half a surrogate pair, or a value
/// that is no object.
class json_writer {
public:
  explicit json_writer(std::uint64_t seed) : random_(seed) {}

  std::string document() {
    text_.clear();
    blanks();
    if (random_.once_in(20)) {
      value(3);
    } else {
      const int deep = random_.once_in(4) ? 58 + random_.below(9) : 0;
      for (int i = 0; i < deep; ++i) closers_ += random_.once_in(2) ? (text_ += "{\"k\":", '}') : opened_array(i);
      deep == 0 ? object(4) : value(1);
      for (; !closers_.empty(); closers_.pop_back()) text_ += closers_.back();
    }
    if (random_.once_in(20)) text_ += random_.one_of(std::string(" \n}]x,"));
    return text_;
  }

private:
  char opened_array(int level) { return level == 0 ? (text_ += "{\"k\":", '}') : (text_ += '[', ']'); }

  void blanks() {
    if (!random_.once_in(3)) return;
    const int run = random_.once_in(10) ? 60 + random_.below(8) : random_.below(8);
    for (int i = 0; i < run; ++i) text_ += random_.one_of(std::string(" \n\t\r"));
  }
  void digits(int most) {
    for (int n = 1 + random_.below(most); n > 0; --n) text_ += random_.one_of(std::string("0123456789"));
  }
  void number() {
    if (random_.once_in(3)) text_ += '-';
    if (random_.once_in(3)) {
      text_ += '0';
    } else {
      text_ += random_.one_of(std::string("123456789"));
      if (random_.once_in(2)) digits(random_.once_in(4) ? 104 : 4);
    }
    if (random_.once_in(2)) text_ += '.', digits(random_.once_in(4) ? 104 : 4);
    if (!random_.once_in(3)) return;
    text_ += random_.one_of(std::string("eE"));
    if (random_.once_in(2)) text_ += random_.one_of(std::string("+-"));
    digits(4);
  }
  void string() {
    static const std::vector<std::string> parts = {"a",
                                                   "word ",
                                                   "\\n",
                                                   "\\\"",
                                                   "\\\\",
                                                   "\\/",
                                                   "\\u0041",
                                                   "\\uFFFF",
                                                   "\\u0000",
                                                   "\\uD83C\\uDFBB",
                                                   "\\ud800\\udc00",
                                                   "é",
                                                   "日本",
                                                   "\U0001f3bb",
                                                   "\u0800",
                                                   "\ud7ff",
                                                   "\ue000",
                                                   "\U00010000",
                                                   "\U0010ffff",
                                                   "{",
                                                   "}]",
                                                   "\x7f"};
    static const std::vector<std::string> wrong = {
        "\\uD83C",          "\\uDFBB",      "\\ud800\\u0041",   "\\x", "\xff", "\xc0\x80", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\n",  "\x1f", "\xc3"};
    text_ += '"';
    while (!random_.once_in(3)) text_ += random_.one_of(random_.once_in(60) ? wrong : parts);
    text_ += '"';
  }
  void object(int levels) {
    text_ += '{';
    for (int n = random_.below(4); n > 0; --n) {
      blanks(), string(), blanks(), text_ += ':', blanks();
      value(levels - 1);
      blanks();
      if (n > 1) text_ += ',';
    }
    blanks();
    text_ += '}';
  }
  void array(int levels) {
    text_ += '[';
    for (int n = random_.below(4); n > 0; --n) {
      blanks();
      value(levels - 1);
      blanks();
      if (n > 1) text_ += ',';
    }
    blanks();
    text_ += ']';
  }
  void value(int levels) {
    switch (random_.below(levels > 0 ? 6 : 4)) {
    case 0: return number();
    case 1: return string();
    case 2: text_ += random_.one_of(std::vector<std::string>{"true", "false", "null"}); return;
    case 3: return number();
    case 4: return object(levels);
    default: return array(levels);
    }
  }

  random_numbers random_;
  std::string text_, closers_;
};

/// Of a text that is JSON: whether it keeps the bounds that json_automaton states.
inline bool keeps_bounds(std::string_view text) {
  constexpr std::string_view blanks = " \n\t\r";
  int depth = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '"') {
      for (++i; text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
      ++i;
    } else if (blanks.find(text[i]) != std::string_view::npos) {
      const auto end = std::min(text.find_first_not_of(blanks, i), text.size());
      if (end - i > 64) return false;
      i = end;
    } else if (text[i] == '-' || std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      const auto end = std::min(text.find_first_not_of("0123456789+-.eE", i), text.size());
      const auto number = text.substr(i, end - i);
      const auto mantissa = number.substr(0, number.find_first_of("eE"));
      if (std::ranges::count_if(mantissa, [](unsigned char c) { return std::isdigit(c) != 0; }) > 100) return false;
      if (mantissa.size() < number.size()) {
        auto exponent = number.substr(mantissa.size() + 1);
        const bool negative = exponent.starts_with('-');
        if (negative || exponent.starts_with('+')) exponent.remove_prefix(1);
        if (exponent.size() > 3 || (!negative && std::stoi(std::string(exponent)) > 199)) return false;
      }
      i = end;
    } else {
      if (text[i] == '{' || text[i] == '[') ++depth;
      if (text[i] == '}' || text[i] == ']') --depth;
      if (depth > 64) return false;
      ++i;
    }
  }
  return true;
}

/// What json_automaton is to accept, by nlohmann's parser. (That one skips a byte order mark and takes a NUL for the end.)
inline bool is_bounded_object(const std::string& text) {
  return text.ends_with('}') && !text.starts_with("\xEF\xBB\xBF") && text.find('\0') == std::string::npos &&
         nlohmann::json::accept(text) && nlohmann::json::parse(text).is_object() && keeps_bounds(text);
}

/// The state after `text`.
inline model::json_automaton after(std::string_view text) {
  model::json_automaton a;
  for (const char c : text) a.step(std::uint8_t(c));
  return a;
}

/// The start of a text that may still become an object; often near a bound. Call inside a property.
inline std::string random_start() {
  random_numbers random(*rc::gen::arbitrary<std::uint64_t>());
  std::string text = "{\"a\":";
  if (random.once_in(3)) {
    if (random.once_in(2))
      for (int n = 58 + random.below(6); n > 0; --n) text += random.once_in(2) ? "[" : "{\"a\":";
    switch (random.below(4)) {
    case 0: text += std::string(std::size_t(60 + random.below(6)), ' '); break;
    case 1: text += std::string(std::size_t(96 + random.below(6)), '7') + (random.once_in(2) ? "." : ""); break;
    case 2: text += "0." + std::string(std::size_t(96 + random.below(5)), '7'); break;
    default: break;
    }
  } else {
    text = json_writer(*rc::gen::arbitrary<std::uint64_t>()).document();
    text.resize(*rc::gen::inRange<std::size_t>(0, text.size() + 1));
  }
  model::json_automaton state;
  std::size_t alive = 0;
  while (alive < text.size() && state.step(std::uint8_t(text[alive]))) ++alive;
  return text.substr(0, alive);
}

/// A made-up tokenizer over `tokens` (any bytes), as byte-level vocabularies are. The last three ids are a special token, one
/// that looks like <|this|>, and the end.
inline model::tokenizer byte_level(const std::set<std::string>& tokens) {
  auto file = nlohmann::json::parse(read_file(default_model() / "tokenizer.json"));
  auto& m = file["model"];
  m["vocab"] = nlohmann::json::object();
  m["merges"] = nlohmann::json::array();
  std::vector<std::string> shortest_first(tokens.begin(), tokens.end());
  std::ranges::stable_sort(shortest_first, {}, &std::string::size);
  for (const auto& token : shortest_first) {
    std::string letters;
    for (const char c : token) letters += model::letter_of_byte(std::uint8_t(c));
    m["vocab"][letters] = int(m["vocab"].size());
  }
  file["added_tokens"] = nlohmann::json::array();
  for (const auto& [content, special] : {std::pair("{special}", true), {"<|control|>", false}, {"<|end|>", true}})
    file["added_tokens"].push_back(
        {{"id", m["vocab"].size() + file["added_tokens"].size()}, {"content", content}, {"special", special}});
  auto made = model::tokenizer::parse(file.dump(), "made up");
  REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.error().message));
  return std::move(*made);
}

/// Pieces of JSON, of strings and of characters, that end in the middle of things.
inline std::string json_piece(random_numbers& random) {
  static const std::vector<std::string> parts = {
      "{",    "}",      "[",      "]",        ",",        ":",    "\"",   "\\",   "\\u", "d8",  "DC", "00",
      "tr",   "ue",     "fal",    "null",     "-",        "0.",   "e",    "E+",   "12",  "  ",  "\n", "\t",
      "    ", "\": \"", "\", \"", "\"}",      "]}",       "}}",   "]]]",  "{\"",  "[[",  "[{",  "é",  "日",
      "\xe6", "\x97",   "\xa5",   "\xf0\x9f", "\x8e\xbb", "\xed", "\xc3", "word", "a",   "\r\n"};
  std::string piece;
  for (int n = 1 + random.below(4); n > 0; --n) piece += random.one_of(parts);
  return piece;
}

inline std::set<std::string> every_byte() {
  std::set<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.insert({char(byte)});
  return bytes;
}

/// Mixtral's kind, with tokens that say JSON: the mark is a space, and a text's first space is not seen.
inline model::tokenizer character_level(int most_lead = 1) {
  auto file = character_vocabulary();
  auto& vocab = file["model"]["vocab"];
  for (const auto* token :
       {"▁{",   "{\"", "▁▁{", "▁\"", "\":", "\":▁\"", "\"}",  "\",", "▁▁▁▁", "▁▁▁▁\"", "}}", "]}", ":▁[",
        "[▁▁]", "▁1",  "12",  "é\"", "\\u", "▁true",  "▁a\"", "▁}",  "▁▁▁a", "{",      "}",  "\"", "日"})
    vocab[token] = int(vocab.size());
  file["decoder"]["decoders"][3]["start"] = most_lead;
  auto made = model::tokenizer::parse(file.dump(), "characters");
  REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.error().message));
  return std::move(*made);
}

} // namespace quadrant::test
