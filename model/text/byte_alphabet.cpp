#include "model/text/byte_alphabet.hpp"

#include <array>
#include <cstdint>

#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

constexpr std::int16_t no_byte = -1;
constexpr std::size_t num_codes = 0x100 + 68; // 68 bytes are not printable

constexpr bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

constexpr std::array<std::int16_t, num_codes> byte_of_code = [] {
  std::array<std::int16_t, num_codes> table{};
  table.fill(no_byte);
  std::size_t next = 0x100;
  for (int byte = 0; byte < 0x100; ++byte) table[is_printable(byte) ? std::size_t(byte) : next++] = std::int16_t(byte);
  return table;
}();

} // namespace

std::string letter_of_byte(std::uint8_t byte) {
  std::string letter;
  for (std::size_t code = 0; code < num_codes; ++code)
    if (byte_of_code[code] == byte) utf8::append(char32_t(code), letter);
  return letter;
}

std::optional<std::string> bytes_of_letters(std::string_view letters) {
  std::string bytes;
  bytes.reserve(letters.size());
  for (std::size_t i = 0; i < letters.size();) {
    const auto c = utf8::at(letters, i);
    if (!c.valid || c.code >= num_codes || byte_of_code[c.code] == no_byte) return std::nullopt;
    bytes += static_cast<char>(byte_of_code[c.code]);
    i += c.size;
  }
  return bytes;
}

} // namespace quadrant::model
