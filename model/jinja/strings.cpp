#include "model/jinja/strings.hpp"

#include <algorithm>
#include <string>

#include "model/text/utf8.hpp"

namespace quadrant::model::jinja {
namespace {

bool is_in(char32_t code, std::string_view set) {
  for (std::size_t i = 0; i < set.size();) {
    const auto c = utf8::at(set, i);
    if (c.code == code) return true;
    i += c.size;
  }
  return false;
}

/// Where the character that ends at `end` begins.
std::size_t start_of_last(std::string_view text, std::size_t end) {
  auto begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin + utf8::at(text, begin).size == end ? begin : end - 1;
}

/// Offsets of all characters, and the end.
std::vector<std::size_t> starts(std::string_view text) {
  std::vector<std::size_t> out;
  out.reserve(text.size() + 1);
  for (std::size_t i = 0; i < text.size(); i += utf8::at(text, i).size) out.push_back(i);
  out.push_back(text.size());
  return out;
}

} // namespace

failure too_long() { return {errc::invalid_argument, "a text is longer than 16 MB"}; }

slice_range slice_range::of(std::int64_t length, std::optional<std::int64_t> begin, std::optional<std::int64_t> end,
                            std::int64_t step) {
  const std::int64_t lowest = step < 0 ? -1 : 0, highest = step < 0 ? length - 1 : length;
  const auto place = [&](std::int64_t at) { return std::clamp(at < 0 ? at + length : at, lowest, highest); };
  const auto from = begin ? place(*begin) : step < 0 ? highest : lowest;
  const auto to = end ? place(*end) : step < 0 ? lowest : highest;
  const auto span = step < 0 ? from - to : to - from;
  if (span <= 0) return {from, step, 0};
  const auto stride = step == INT64_MIN ? INT64_MAX : step < 0 ? -step : step;
  return {from, step, (span - 1) / stride + 1};
}

std::size_t count_characters(std::string_view text) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < text.size(); i += utf8::at(text, i).size) ++n;
  return n;
}

std::vector<marked_text> characters(const marked_text& text) {
  const auto at = starts(text.text);
  std::vector<marked_text> out;
  out.reserve(at.size() - 1);
  for (std::size_t i = 0; i + 1 < at.size(); ++i) out.push_back(text.part(at[i], at[i + 1]));
  return out;
}

marked_text slice_text(const marked_text& text, const slice_range& range) {
  if (range.count == 0) return {};
  const auto at = starts(text.text);
  const auto first = std::size_t(range.begin);
  if (range.step == 1) return text.part(at[first], at[first + std::size_t(range.count)]);
  marked_text out;
  for (std::int64_t i = 0, place = range.begin; i < range.count; ++i) {
    out.append(text.part(at[std::size_t(place)], at[std::size_t(place) + 1]));
    if (i + 1 < range.count) place += range.step;
  }
  return out;
}

marked_text strip(const marked_text& text, const marked_text* set, bool left, bool right) {
  const std::string_view chars = text.text;
  const auto goes = [&](std::size_t at) {
    const auto code = utf8::at(chars, at).code;
    return set == nullptr ? utf8::is_space(code) : is_in(code, set->text);
  };
  std::size_t begin = 0, end = chars.size();
  while (left && begin < end && goes(begin)) begin += utf8::at(chars, begin).size;
  while (right && begin < end && goes(start_of_last(chars, end))) end = start_of_last(chars, end);
  return text.part(begin, end);
}

result<std::vector<marked_text>> split(const marked_text& text, const marked_text* separator, std::int64_t max_cuts) {
  std::vector<marked_text> parts;
  const auto run_end = [&](std::size_t at, bool space) { // of white space, or of anything else
    while (at < text.text.size() && utf8::is_space(utf8::at(text.text, at).code) == space)
      at += utf8::at(text.text, at).size;
    return at;
  };
  if (separator == nullptr) {
    for (auto begin = run_end(0, true); begin < text.text.size();) {
      const bool last = max_cuts >= 0 && std::int64_t(parts.size()) == max_cuts;
      const auto end = last ? text.text.size() : run_end(begin, false);
      parts.push_back(text.part(begin, end));
      begin = run_end(end, true);
    }
    return parts;
  }
  const auto& cut = separator->text;
  if (cut.empty()) return {errc::invalid_argument, "split: the separator is empty"};
  std::size_t begin = 0;
  while (max_cuts < 0 || std::int64_t(parts.size()) < max_cuts) {
    const auto found = text.text.find(cut, begin);
    if (found == std::string::npos) break;
    parts.push_back(text.part(begin, found));
    begin = found + cut.size();
  }
  parts.push_back(text.part(begin, text.text.size()));
  return parts;
}

result<marked_text> replace(const marked_text& text, std::string_view from, const marked_text& to, std::int64_t count) {
  marked_text out;
  std::size_t begin = 0;
  for (std::int64_t done = 0; count < 0 || done < count; ++done) {
    // An empty `from` stands before every character and at the end.
    auto found = from.empty() && done > 0 ? begin + (begin < text.text.size() ? utf8::at(text.text, begin).size : 1)
                                          : text.text.find(from, begin);
    if (found > text.text.size()) break;
    out.append(text.part(begin, found));
    out.append(to);
    if (out.text.size() > max_bytes) return too_long();
    begin = found + from.size();
  }
  out.append(text.part(begin, text.text.size()));
  if (out.text.size() > max_bytes) return too_long();
  return out;
}

result<marked_text> repeat(const marked_text& text, std::int64_t times) {
  marked_text out;
  if (times <= 0 || text.text.empty()) return out;
  if (std::uint64_t(times) > max_bytes / text.text.size()) return too_long();
  for (std::int64_t i = 0; i < times; ++i) out.append(text);
  return out;
}

result<marked_text> join(const std::vector<marked_text>& parts, const marked_text& gap) {
  marked_text out;
  for (bool first = true; const auto& part : parts) {
    if (!first) out.append(gap);
    first = false;
    out.append(part);
    if (out.text.size() > max_bytes) return too_long();
  }
  return out;
}

result<marked_text> indent(const marked_text& text, std::int64_t width, bool first, bool blank) {
  if (width < 0 || width > 1000) return {errc::invalid_argument, "indent: the width is not in 0 to 1000"};
  const std::string spaces(std::size_t(width), ' ');
  marked_text out;
  for (std::size_t begin = 0; begin <= text.text.size();) {
    const auto newline = text.text.find('\n', begin);
    const auto end = newline == std::string::npos ? text.text.size() : newline;
    if (begin == 0 ? first : blank || end > begin) out.append(spaces, false);
    const auto next = std::min(end + 1, text.text.size());
    out.append(text.part(begin, next));
    if (out.text.size() > max_bytes) return too_long();
    if (newline == std::string::npos) break;
    begin = next;
  }
  return out;
}

result<marked_text> escape_html(const marked_text& text) {
  marked_text out;
  std::size_t begin = 0;
  while (true) {
    const auto found = std::min(text.text.find_first_of("&<>'\"", begin), text.text.size());
    out.append(text.part(begin, found));
    if (out.text.size() > max_bytes) return too_long();
    if (found == text.text.size()) return out;
    const char c = text.text[found];
    out.append(c == '&'    ? "&amp;"
               : c == '<'  ? "&lt;"
               : c == '>'  ? "&gt;"
               : c == '\'' ? "&#39;"
                           : "&#34;",
               text.trust.trusted(found, found + 1));
    begin = found + 1;
  }
}

marked_text in_case(const marked_text& text, letter_case wanted) {
  marked_text out;
  bool fresh = true; // the next letter begins what is written with a capital
  for (std::size_t i = 0; i < text.text.size();) {
    const auto c = utf8::at(text.text, i);
    const bool up = wanted == letter_case::upper || (wanted >= letter_case::capitalised && fresh);
    if (c.valid) {
      std::string changed;
      utf8::append(up ? utf8::to_upper(c.code) : utf8::to_lower(c.code), changed);
      out.append(changed, text.trust.trusted(i, i + c.size));
    } else
      out.append(text.part(i, i + c.size));
    fresh = wanted == letter_case::title &&
            (utf8::is_space(c.code) || std::string_view("-({[<").find(text.text[i]) != std::string_view::npos);
    i += c.size;
  }
  return out;
}

} // namespace quadrant::model::jinja
