#include "model/text/nfc.hpp"

#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "config/check.hpp"
#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

/// Code points that are already in form C and that no neighbour before them can absorb: text may be cut in front of
/// one. A table of the common ones; any other takes the slow path and comes out the same.
bool is_settled(char32_t c) noexcept {
  return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x2027) || (c >= 0x3000 && c <= 0x3029) ||
         (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A0 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF60) ||
         (c >= 0x1F300 && c <= 0x1FAFF);
}

/// From `from`, the start of the first character that is settled (or is not, as asked); the size of the text if there
/// is none.
std::size_t find_settled(std::string_view text, std::size_t from, bool settled, std::size_t* previous = nullptr) {
  while (from < text.size()) {
    const auto c = utf8::at(text, from);
    if (is_settled(c.code) == settled) return from;
    if (previous != nullptr) *previous = from;
    from += c.size;
  }
  return text.size();
}

void append_composed(std::string_view text, bool trusted, marked_text& to) {
  utf8proc_uint8_t* composed = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()),
                                 &composed, utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  QCHECK(size >= 0); // the text is valid UTF-8
  to.append({reinterpret_cast<const char*>(composed), std::size_t(size)}, trusted);
}

} // namespace

marked_text nfc(marked_text in) {
  const std::string_view text = in.text;
  const auto ascii = utf8::ascii_prefix(text);
  std::size_t last = ascii > 0 ? ascii - 1 : 0; // the settled character that an unsettled one may melt into
  auto unsettled = find_settled(text, ascii, false, &last);
  if (unsettled == text.size()) return in;

  marked_text out;
  out.text.reserve(text.size());
  std::size_t done = 0;
  while (unsettled < text.size()) {
    const auto end = find_settled(text, unsettled, true);
    out.append(in.part(done, last));
    append_composed(text.substr(last, end - last), in.trust.trusted(last, end), out);
    done = last = end;
    unsettled = find_settled(text, end, false, &last);
  }
  out.append(in.part(done, text.size()));
  return out;
}

} // namespace quadrant::model
