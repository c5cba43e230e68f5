#include "model/text/added_tokens.hpp"

#include <algorithm>

#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

/// The character that ends at `end` > 0, in valid UTF-8.
utf8::character before(std::string_view text, std::size_t end) noexcept {
  auto begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return utf8::at(text, begin);
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) noexcept {
  return (begin == 0 || !utf8::is_word(before(text, begin).code)) &&
         (end == text.size() || !utf8::is_word(utf8::at(text, end).code));
}

bool is_framed(std::string_view content, std::string_view open, std::string_view close) noexcept {
  return content.size() > open.size() + close.size() && content.starts_with(open) && content.ends_with(close);
}

} // namespace

bool added_token::is_control() const noexcept {
  return special || is_framed(content, "<|", "|>") || is_framed(content, "<\uFF5C", "\uFF5C>");
}

void token_finder::add(std::string content, const added_token& token) {
  starts_[static_cast<unsigned char>(content.front())] = true;
  entries_.push_back({std::move(content), token});
}

void token_finder::seal() { std::ranges::stable_sort(entries_, {}, &entry::content); }

const token_finder::entry* token_finder::longest_at(const marked_text& marked, std::size_t at) const {
  const std::string_view text = marked.text;
  const entry* longest = nullptr;
  auto first = entries_.begin(), last = entries_.end();
  // Each round keeps the entries that agree with the text in one more byte.
  for (std::size_t depth = 0; first != last; ++depth) {
    for (; first != last && first->content.size() == depth; ++first)
      if (!first->token.is_control() || marked.trust.trusted(at, at + depth)) longest = &*first;
    if (first == last || at + depth >= text.size()) break;
    const auto letter = static_cast<unsigned char>(text[at + depth]);
    const auto letter_of = [depth](const entry& e) { return static_cast<unsigned char>(e.content[depth]); };
    const auto agreeing = std::ranges::equal_range(first, last, letter, {}, letter_of);
    first = agreeing.begin(), last = agreeing.end();
  }
  return longest;
}

std::optional<token_finder::match> token_finder::next(const marked_text& marked, std::size_t from) const {
  const std::string_view text = marked.text;
  if (entries_.empty()) return std::nullopt;
  for (auto at = from; at < text.size(); ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    const auto* found = longest_at(marked, at);
    if (found == nullptr) continue;
    match m{at, at + found->content.size(), found->token.id};
    if (found->token.single_word && !stands_alone(text, m.begin, m.end)) {
      at = m.end - 1;
      continue;
    }
    if (found->token.strip_left)
      for (utf8::character c; m.begin > from && utf8::is_space((c = before(text, m.begin)).code);) m.begin -= c.size;
    if (found->token.strip_right)
      for (utf8::character c; m.end < text.size() && utf8::is_space((c = utf8::at(text, m.end)).code);) m.end += c.size;
    return m;
  }
  return std::nullopt;
}

} // namespace quadrant::model
