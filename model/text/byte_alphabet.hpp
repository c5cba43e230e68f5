// model/text/byte_alphabet.hpp: the letters that tokenizer.json writes for bytes: printable Latin-1 as itself, the rest
// from U+0100 on.
// Source  GPT-2, bytes_to_unicode
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace quadrant::model {

/// The bytes that `letters` stand for; none if a character is not of the alphabet.
std::optional<std::string> bytes_of_letters(std::string_view letters);

} // namespace quadrant::model
