#include "model/text/decoding.hpp"

#include <charconv>

namespace quadrant::model {
namespace {

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t done = 0;
  for (auto at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  return out.append(text, done);
}

} // namespace

std::optional<std::uint8_t> byte_of_token(std::string_view token) noexcept {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  std::uint8_t byte = 0;
  const auto [end, problem] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (problem != std::errc{} || end != token.data() + 5) return std::nullopt;
  return byte;
}

std::string decoding::text_of(std::string_view token) const {
  std::string text(token);
  for (const auto& [from, to] : replacements) text = replaced(text, from, to);
  if (byte_tokens)
    if (const auto byte = byte_of_token(text)) return {static_cast<char>(*byte)};
  return text;
}

void decoding::drop_lead(std::string& text, std::size_t& left) const {
  std::size_t dropped = 0;
  for (; left > 0 && std::string_view(text).substr(dropped).starts_with(lead); --left) dropped += lead.size();
  text.erase(0, dropped);
  if (!text.empty()) left = 0;
}

} // namespace quadrant::model
