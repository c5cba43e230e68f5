// model/grammar/json_automaton.hpp: how far a text is a JSON object (RFC 8259), one byte at a time.
//
//   { "key" : [ 1.5 ,            stack  a bit for each open bracket, the innermost lowest
//                    ^           place  what may come next: here a value, after at most 64 blanks
//
// What it lets end, every strict parser takes: UTF-8 as RFC 3629 has it, \u escapes of whole surrogate pairs, numbers that
// fit a double. Keys may come twice, as in the RFC. Nothing may follow the last bracket.
// Bounds  so that no text can go on without saying anything, and no reader's stack overflows: max_depth, max_blanks,
//         max_digits; an exponent has 3 digits at most and is at most 199
// Threads a value
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quadrant::model {

class grammar_vocabulary;

class json_automaton {
public:
  static constexpr int max_depth = 64;   ///< open brackets
  static constexpr int max_blanks = 64;  ///< bytes between two tokens: a new line, and 4 for each of 15 levels
  static constexpr int max_digits = 100; ///< of a number, without its exponent: 10^(100+199) is still a double

  /// From every state but the complete one, the first of these bytes that is allowed leads to the end. The second list is
  /// for inside a character.
  static constexpr std::string_view ways_out = "\"}]:0\\udcreals{";
  static constexpr std::string_view ways_out_of_character = "\x80\x90\xA0";

  /// Whether the text still is the start of an object; once it is not, it stays so.
  bool step(std::uint8_t byte) noexcept;
  [[nodiscard]] bool complete() const noexcept { return place_ == place::done; }
  /// Within a string, between characters: every token of whole characters other than " \ and controls may follow.
  [[nodiscard]] bool in_text() const noexcept { return place_ == place::text; }

  /// What one token can see of a state: the most bytes of each kind that any has.
  struct horizon {
    explicit horizon(const grammar_vocabulary& tokens);
    int opens, closes, blanks, digits;
  };
  /// A state that allows the same tokens, and is the same for many.
  [[nodiscard]] json_automaton within(const horizon& h) const noexcept;

  [[nodiscard]] std::size_t hash() const noexcept;
  bool operator==(const json_automaton&) const = default;

private:
  // clang-format off
  enum class place : std::uint8_t {
    begin, first_key, next_key, colon, value, first_element, after_value, done, dead,
    text, escape,                                                        // of a string
    tail_1, tail_2, tail_2_of_e0, tail_2_of_ed, tail_3, tail_3_of_f0, tail_3_of_f4, // bytes that a character lacks
    hex_1, hex_2, hex_2_of_d, hex_3, hex_4,                              // of \uXXXX
    high_3, high_4, pair_escape, pair_u, low_1, low_2,                   // of a surrogate pair
    word,                                                                // true, false, null
    minus, zero, integer, point, fraction, exponent, exponent_up, exponent_down, exponent_digits,
  };
  // clang-format on

  bool at(place p) noexcept {
    place_ = p;
    run_ = 0;
    return p != place::dead;
  }
  bool die() noexcept { return at(place::dead); }
  bool open(bool object) noexcept;
  bool close(bool object) noexcept;
  bool blank(std::uint8_t byte) noexcept;
  bool value(std::uint8_t byte) noexcept;
  bool after_value(std::uint8_t byte) noexcept;
  bool text(std::uint8_t byte) noexcept;
  bool escape(std::uint8_t byte) noexcept;
  bool tail(std::uint8_t byte, std::uint8_t low, std::uint8_t high, place next) noexcept;
  bool number(std::uint8_t byte) noexcept;
  bool digit(place next) noexcept;

  std::uint64_t stack_ = 0; ///< 1 an object, 0 an array
  std::uint8_t depth_ = 0;
  place place_ = place::begin;
  std::uint8_t run_ = 0; ///< blanks so far; digits so far, or left to an exponent; where in a word
  bool key_ = false;     ///< of strings: a key, not a value
};

} // namespace quadrant::model
