#include "model/text/normaliser.hpp"

#include "model/text/nfc.hpp"

namespace quadrant::model {
namespace {

marked_text taken(const normaliser::form_c&, marked_text text) { return nfc(std::move(text)); }

marked_text taken(const normaliser::prefix& p, marked_text text) {
  if (text.text.empty()) return text;
  marked_text out;
  out.append(p.text, text.trust.trusted(0, 1));
  out.append(text);
  return out;
}

marked_text taken(const normaliser::replacement& r, marked_text text) {
  regex::scan scan(r.pattern);
  marked_text out;
  std::size_t done = 0;
  for (regex::match m; scan.next(text.text, done, m); done = m.end) {
    out.append(text, done, m.begin);
    out.append(r.text, text.trust.trusted(m.begin, m.end));
  }
  if (done == 0) return text;
  out.append(text, done, text.text.size());
  return out;
}

} // namespace

marked_text normaliser::apply(marked_text text) const {
  for (const auto& s : steps_) text = std::visit([&](const auto& one) { return taken(one, std::move(text)); }, s);
  return text;
}

} // namespace quadrant::model
