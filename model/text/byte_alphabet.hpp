// model/text/byte_alphabet.hpp: the letters that tokenizer.json writes for bytes: printable Latin-1 as itself, the rest
// from U+0100 on.
// Source  GPT-2, bytes_to_unicode
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quadrant::model {

/// The one letter that stands for a byte, in UTF-8.
std::string letter_of_byte(std::uint8_t byte);
/// The bytes that `letters` stand for; none if a character is not of the alphabet.
std::optional<std::string> bytes_of_letters(std::string_view letters);

} // namespace quadrant::model
