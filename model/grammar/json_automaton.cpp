#include "model/grammar/json_automaton.hpp"

#include <algorithm>

#include "model/grammar/grammar_vocabulary.hpp"

namespace quadrant::model {
namespace {

/// What is left of true, false and null after the first letter.
constexpr char words[] = "rue\0alse\0ull";
constexpr std::uint8_t word_true = 0, word_false = 4, word_null = 9;

bool is_digit(std::uint8_t byte) noexcept { return byte >= '0' && byte <= '9'; }
bool is_hex(std::uint8_t byte) noexcept {
  const auto lower = byte | 0x20;
  return is_digit(byte) || (lower >= 'a' && lower <= 'f');
}
bool is_exponent(std::uint8_t byte) noexcept { return byte == 'e' || byte == 'E'; }

} // namespace

bool json_automaton::step(std::uint8_t byte) noexcept {
  switch (place_) {
  case place::begin: return byte == '{' ? open(true) : blank(byte);
  case place::first_key:
    if (byte == '}') return close(true);
    [[fallthrough]];
  case place::next_key: key_ = byte == '"'; return key_ ? at(place::text) : blank(byte);
  case place::colon: return byte == ':' ? at(place::value) : blank(byte);
  case place::first_element:
    if (byte == ']') return close(false);
    [[fallthrough]];
  case place::value: return value(byte);
  case place::after_value: return after_value(byte);
  case place::done:
  case place::dead: return die();

  case place::text: return text(byte);
  case place::tail_1: return tail(byte, 0x80, 0xBF, place::text);
  case place::tail_2: return tail(byte, 0x80, 0xBF, place::tail_1);
  case place::tail_2_of_e0: return tail(byte, 0xA0, 0xBF, place::tail_1); // else it is overlong
  case place::tail_2_of_ed: return tail(byte, 0x80, 0x9F, place::tail_1); // else a surrogate
  case place::tail_3: return tail(byte, 0x80, 0xBF, place::tail_2);
  case place::tail_3_of_f0: return tail(byte, 0x90, 0xBF, place::tail_2); // else overlong
  case place::tail_3_of_f4: return tail(byte, 0x80, 0x8F, place::tail_2); // else past U+10FFFF

  case place::word:
    if (byte != std::uint8_t(words[run_])) return die();
    return words[++run_] != '\0' || at(place::after_value);
  case place::minus:
  case place::zero:
  case place::integer:
  case place::point:
  case place::fraction:
  case place::exponent:
  case place::exponent_up:
  case place::exponent_down:
  case place::exponent_digits: return number(byte);
  default: return escape(byte);
  }
}

bool json_automaton::open(bool object) noexcept {
  if (depth_ == max_depth) return die();
  ++depth_;
  stack_ = stack_ << 1 | std::uint64_t(object);
  return at(object ? place::first_key : place::first_element);
}

bool json_automaton::close(bool object) noexcept {
  if ((stack_ & 1) != std::uint64_t(object)) return die();
  --depth_;
  stack_ >>= 1;
  return at(depth_ == 0 ? place::done : place::after_value);
}

bool json_automaton::blank(std::uint8_t byte) noexcept {
  const bool is_blank = byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
  if (!is_blank || run_ == max_blanks) return die();
  ++run_;
  return true;
}

bool json_automaton::value(std::uint8_t byte) noexcept {
  const auto word = [this](std::uint8_t rest) {
    place_ = place::word;
    run_ = rest;
    return true;
  };
  switch (byte) {
  case '{': return open(true);
  case '[': return open(false);
  case '"': return at(place::text);
  case 't': return word(word_true);
  case 'f': return word(word_false);
  case 'n': return word(word_null);
  case '-': return at(place::minus);
  default:
    if (!is_digit(byte)) return blank(byte);
    run_ = 0; // of blanks
    return digit(byte == '0' ? place::zero : place::integer);
  }
}

bool json_automaton::after_value(std::uint8_t byte) noexcept {
  switch (byte) {
  case ',': return at((stack_ & 1) != 0 ? place::next_key : place::value);
  case '}': return close(true);
  case ']': return close(false);
  default: return blank(byte);
  }
}

bool json_automaton::text(std::uint8_t byte) noexcept {
  if (byte == '"') {
    at(key_ ? place::colon : place::after_value);
    key_ = false;
    return true;
  }
  if (byte == '\\') return at(place::escape);
  if (byte < 0x80) return byte >= 0x20 || die();
  if (byte < 0xC2 || byte > 0xF4) return die();
  if (byte < 0xE0) return at(place::tail_1);
  if (byte < 0xF0) return at(byte == 0xE0 ? place::tail_2_of_e0 : byte == 0xED ? place::tail_2_of_ed : place::tail_2);
  return at(byte == 0xF0 ? place::tail_3_of_f0 : byte == 0xF4 ? place::tail_3_of_f4 : place::tail_3);
}

bool json_automaton::tail(std::uint8_t byte, std::uint8_t low, std::uint8_t high, place next) noexcept {
  return at(byte >= low && byte <= high ? next : place::dead);
}

bool json_automaton::escape(std::uint8_t byte) noexcept {
  const auto next = [&](bool fits, place p) { return at(fits ? p : place::dead); };
  const auto lower = std::uint8_t(byte | 0x20);
  switch (place_) {
  case place::escape:
    if (byte == 'u') return at(place::hex_1);
    return next(byte != '\0' && std::string_view("\"\\/bfnrt").find(char(byte)) != std::string_view::npos, place::text);
  case place::hex_1: return next(is_hex(byte), lower == 'd' ? place::hex_2_of_d : place::hex_2);
  case place::hex_2: return next(is_hex(byte), place::hex_3);
  case place::hex_2_of_d: // D800 to DBFF asks for its other half, which nothing else may be
    if (byte >= '0' && byte <= '7') return at(place::hex_3);
    return next(byte == '8' || byte == '9' || lower == 'a' || lower == 'b', place::high_3);
  case place::hex_3: return next(is_hex(byte), place::hex_4);
  case place::hex_4: return next(is_hex(byte), place::text);
  case place::high_3: return next(is_hex(byte), place::high_4);
  case place::high_4: return next(is_hex(byte), place::pair_escape);
  case place::pair_escape: return next(byte == '\\', place::pair_u);
  case place::pair_u: return next(byte == 'u', place::low_1);
  case place::low_1: return next(lower == 'd', place::low_2);
  case place::low_2: return next(lower >= 'c' && lower <= 'f', place::hex_3);
  default: return die();
  }
}

bool json_automaton::digit(place next) noexcept {
  if (run_ == max_digits) return die();
  ++run_;
  place_ = next;
  return true;
}

bool json_automaton::number(std::uint8_t byte) noexcept {
  const auto end = [&] { return at(place::after_value) && after_value(byte); };
  const bool is_number = is_digit(byte);
  switch (place_) {
  case place::minus: return is_number ? digit(byte == '0' ? place::zero : place::integer) : die();
  case place::integer:
    if (is_number) return digit(place::integer);
    [[fallthrough]];
  case place::zero:
    if (is_exponent(byte)) return at(place::exponent);
    if (byte != '.') return end();
    if (run_ == max_digits) return die();
    place_ = place::point;
    return true;
  case place::point: return is_number ? digit(place::fraction) : die();
  case place::fraction:
    if (is_number) return digit(place::fraction);
    return is_exponent(byte) ? at(place::exponent) : end();
  case place::exponent:
    if (byte == '+') return at(place::exponent_up);
    if (byte == '-') return at(place::exponent_down);
    [[fallthrough]];
  case place::exponent_up:
  case place::exponent_down:
    if (!is_number) return die();
    run_ = byte <= '1' || place_ == place::exponent_down ? 2 : 1;
    place_ = place::exponent_digits;
    return true;
  default:
    if (!is_number) return end();
    if (run_ == 0) return die();
    --run_;
    return true;
  }
}

json_automaton::horizon::horizon(const grammar_vocabulary& tokens)
    : opens(tokens.most_of("{[")), closes(tokens.most_of("}]")), blanks(tokens.most_of(" \n\t\r")),
      digits(tokens.most_of("0123456789")) {}

json_automaton json_automaton::within(const horizon& h) const noexcept {
  auto seen = *this;
  // The levels that a token can close, and the one below them.
  const auto levels = std::min<int>(depth_, h.closes + 1);
  if (levels < 64) seen.stack_ &= (std::uint64_t(1) << levels) - 1;
  if (depth_ + h.opens <= max_depth) seen.depth_ = std::uint8_t(levels);
  switch (place_) {
  case place::begin:
  case place::first_key:
  case place::next_key:
  case place::colon:
  case place::value:
  case place::first_element:
  case place::after_value:
    if (run_ + h.blanks <= max_blanks) seen.run_ = 0;
    break;
  case place::integer:
  case place::point:
  case place::fraction:
    if (run_ + h.digits <= max_digits) seen.run_ = 1;
    break;
  default: break;
  }
  return seen;
}

std::size_t json_automaton::hash() const noexcept {
  const auto rest =
      std::uint64_t(depth_) << 24 | std::uint64_t(place_) << 16 | std::uint64_t(run_) << 8 | std::uint64_t(key_);
  auto h = (stack_ ^ rest * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
  return h ^ h >> 32;
}

} // namespace quadrant::model
