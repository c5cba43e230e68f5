#include "model/grammar/json_automaton.hpp"
#include "test/model/grammar_support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

namespace {

bool accepts(std::string_view text) { return after(text).complete(); }

/// What the automaton's own list of ways out adds to `a`, until it is complete.
std::string ending(json_automaton a) {
  std::string added;
  const auto ways = std::string(json_automaton::ways_out) + std::string(json_automaton::ways_out_of_character);
  while (!a.complete() && added.size() < 1000) {
    const auto way = std::ranges::find_if(ways, [&](char c) { return json_automaton(a).step(std::uint8_t(c)); });
    if (way == ways.end()) return "no way out after " + added;
    a.step(std::uint8_t(*way));
    added += *way;
  }
  return added;
}

} // namespace

TEST_CASE("json_automaton accepts what a strict parser accepts, within its bounds") {
  int accepted = 0, refused = 0;
  property(
      "documents",
      [&] {
        const auto text = json_writer(*rc::gen::arbitrary<std::uint64_t>()).document();
        const bool expected = is_bounded_object(text);
        (expected ? accepted : refused) += 1;
        RC_LOG() << text;
        RC_ASSERT(accepts(text) == expected);
      },
      20000);
  CHECK(accepted > 2000);
  CHECK(refused > 2000);
  property(
      "documents with changed bytes",
      [&] {
        const auto text = mutated(json_writer(*rc::gen::arbitrary<std::uint64_t>()).document(), 40);
        RC_LOG() << text;
        RC_ASSERT(accepts(text) == is_bounded_object(text));
      },
      5000);
  property(
      "bytes of JSON in any order",
      [&] {
        const auto text =
            "{\"\":" +
            *rc::gen::container<std::string>(rc::gen::elementOf(std::string("{}[],:\"\\u0de1-.Etrufalsn \n\xc3\xa9"))) +
            "}";
        RC_ASSERT(accepts(text) == is_bounded_object(text));
      },
      5000);
  property(
      "any bytes in a string",
      [&] {
        const auto text = "{\"" + *rc::gen::container<std::string>(rc::gen::arbitrary<char>()) + "\":0}";
        RC_ASSERT(accepts(text) == is_bounded_object(text));
      },
      5000);
}

TEST_CASE("json_automaton knows every character and every escape") {
  int characters = 0;
  for (std::uint32_t code = 0; code < 1u << 21; ++code) {
    // as UTF-8 would write it, were it allowed
    std::string bytes;
    if (code < 0x80)
      bytes = {char(code)};
    else if (code < 0x800)
      bytes = {char(0xC0 | code >> 6), char(0x80 | (code & 63))};
    else if (code < 0x10000)
      bytes = {char(0xE0 | code >> 12), char(0x80 | (code >> 6 & 63)), char(0x80 | (code & 63))};
    else
      bytes = {char(0xF0 | code >> 18), char(0x80 | (code >> 12 & 63)), char(0x80 | (code >> 6 & 63)),
               char(0x80 | (code & 63))};
    const bool allowed =
        code >= 0x20 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF) && code != '"' && code != '\\';
    if (accepts("{\"" + bytes + "\":0}") != allowed) FAIL_CHECK("U+" << std::hex << code);
    characters += int(allowed);
  }
  CHECK(characters == 0x110000 - 0x800 - 0x20 - 2);

  for (int unit = 0; unit < 0x10000; ++unit) {
    char escape[8];
    std::snprintf(escape, sizeof escape, unit % 2 == 0 ? "\\u%04x" : "\\u%04X", unit);
    const auto text = std::string(escape);
    const bool high = unit >= 0xD800 && unit <= 0xDBFF, low = unit >= 0xDC00 && unit <= 0xDFFF;
    if (accepts("{\"" + text + "\":0}") != (!high && !low)) FAIL_CHECK(text << " alone");
    if (accepts("{\"\\uD800" + text + "\":0}") != low) FAIL_CHECK(text << " after a high one");
    if (accepts("{\"" + text + "\\uDFff\":0}") != high) FAIL_CHECK(text << " before a low one");
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto text = std::string("{\"\\") + char(byte) + "\":0}";
    if (accepts(text) != is_bounded_object(text)) FAIL_CHECK("escape of byte " << byte);
  }
}

TEST_CASE("json_automaton's bounds are where it says") {
  const auto nested = [](int arrays) {
    return "{\"a\":" + std::string(std::size_t(arrays), '[') + std::string(std::size_t(arrays), ']') + "}";
  };
  CHECK(accepts(nested(63)));
  CHECK_FALSE(accepts(nested(64)));
  for (const auto* form :
       {"#{}", "{#}", "{#\"a\":0}", "{\"a\"#:0}", "{\"a\":#0}", "{\"a\":0#}", "{\"a\":0,#\"b\":1}", "{\"a\":[#]}"}) {
    const auto with = [&](std::size_t blanks) {
      std::string text = form;
      return text.replace(text.find('#'), 1, std::string(blanks, '\n'));
    };
    CHECK_MESSAGE(accepts(with(64)), form);
    CHECK_FALSE_MESSAGE(accepts(with(65)), form);
  }
  CHECK_FALSE(accepts("{} "));
  CHECK_FALSE(accepts("{}{}"));
  const auto number = [](const std::string& n) { return accepts("{\"a\":" + n + "}"); };
  CHECK(number("-" + std::string(100, '9')));
  CHECK_FALSE(number(std::string(101, '9')));
  CHECK(number("0." + std::string(99, '9')));
  CHECK_FALSE(number("0." + std::string(100, '9')));
  CHECK(number(std::string(100, '9') + "e+199"));
  CHECK_FALSE(number("1e200"));
  CHECK_FALSE(number("1e0001"));
  CHECK(number("1e007"));
  CHECK(number("1e-999"));
}

TEST_CASE("json_automaton, once alive, can end; once dead, it stays dead") {
  property(
      "every start of a document has a way out, and its end is an object",
      [&] {
        const auto begun = random_start();
        const auto whole = begun + ending(after(begun));
        RC_LOG() << whole;
        RC_ASSERT(is_bounded_object(whole));
      },
      5000);
  property(
      "nothing revives a text, and nothing follows a complete one",
      [&] {
        auto a = after(json_writer(*rc::gen::arbitrary<std::uint64_t>()).document());
        if (a.step('"') && !a.step('\n')) // a control, in or behind a string that begins or ends
          for (int byte = 0; byte < 256; ++byte) RC_ASSERT(!a.step(std::uint8_t(byte)));
        auto whole = after("{}");
        RC_ASSERT(!whole.step(*rc::gen::arbitrary<std::uint8_t>()));
        RC_ASSERT(!whole.complete());
      },
      500);
}

TEST_CASE("json_automaton is a value: what is told the same way is equal") {
  CHECK(after("{\"a\" : ") == after("{\"word\": "));
  CHECK(after("{\"a\" : ").hash() == after("{\"word\": ").hash());
  CHECK(after("{\"a\": [[0], {}") == after("{\"b\": [true"));
  CHECK(after("{\"a\": [") != after("{\"a\": {"));
  CHECK(after("{\"a\":  ") != after("{\"a\": "));
}
