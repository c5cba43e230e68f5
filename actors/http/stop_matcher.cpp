#include "actors/http/stop_matcher.hpp"

#include <algorithm>
#include <utility>

#include "config/check.hpp"

namespace quadrant::actors::http {

void stop_matcher::pattern::step(char c) {
  while (matched > 0 && text[matched] != c) matched = border[matched];
  if (text[matched] == c) ++matched;
}

stop_matcher::stop_matcher(const std::vector<std::string>& stops) {
  for (const auto& stop : stops) {
    QCHECK(!stop.empty());
    pattern p{stop, {0, 0}};
    for (std::size_t n = 1; n < stop.size(); ++n) {
      p.step(stop[n]);
      p.border.push_back(p.matched);
    }
    p.matched = 0;
    patterns_.push_back(std::move(p));
  }
}

std::string stop_matcher::push(std::string_view text) {
  if (stopped_) return {};
  for (const char c : text) {
    held_ += c;
    std::size_t found = 0;
    for (auto& p : patterns_) {
      p.step(c);
      if (p.matched == p.text.size()) found = std::max(found, p.matched);
    }
    if (found > 0) {
      stopped_ = true;
      found_ = held_.substr(held_.size() - found);
      held_.resize(held_.size() - found);
      return std::exchange(held_, {});
    }
  }
  std::size_t hold = 0;
  for (const auto& p : patterns_) hold = std::max(hold, p.matched);
  std::string free = held_.substr(0, held_.size() - hold);
  held_.erase(0, free.size());
  return free;
}

std::string stop_matcher::flush() { return std::exchange(held_, {}); }

} // namespace quadrant::actors::http
