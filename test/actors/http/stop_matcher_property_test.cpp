#include <algorithm>

#include "actors/http/stop_matcher.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using actors::http::stop_matcher;

namespace {

/// What the answer is, by the definition: cut before the stop that ends first; of two that end together, before the
/// longer.
std::string cut_by_definition(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const auto& stop : stops)
      if (std::string_view(text).substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

/// Letters so few that stops overlap themselves and each other.
rc::Gen<std::string> words(int shortest, int longest) {
  return rc::gen::mapcat(rc::gen::inRange(shortest, longest + 1), [](int size) {
    return rc::gen::container<std::string>(std::size_t(size), rc::gen::elementOf(std::string("aab")));
  });
}

} // namespace

TEST_CASE("stop_matcher") {
  test::property(
      "gives the text before the first stop, whatever the pieces, and never holds back what no stop can reach",
      [] {
        const auto stops = *rc::gen::mapcat(rc::gen::inRange(0, 5), [](int n) {
          return rc::gen::container<std::vector<std::string>>(std::size_t(n), words(1, 6));
        });
        const auto text = *words(0, 40);
        stop_matcher matcher(stops);
        std::string out;
        std::size_t done = 0;
        while (done < text.size() && !matcher.stopped()) {
          const auto size = std::size_t(*rc::gen::inRange(1, 6));
          out += matcher.push(std::string_view(text).substr(done, size));
          done = std::min(text.size(), done + size);
          if (matcher.stopped()) break;
          const auto held = text.substr(out.size(), done - out.size());
          RC_ASSERT(held.empty() || std::ranges::any_of(stops, [&](const auto& stop) {
                      return stop.size() > held.size() && stop.starts_with(held);
                    }));
        }
        const bool stopped = matcher.stopped();
        if (stopped) RC_ASSERT(matcher.push("anything").empty());
        out += matcher.flush();
        const auto expected = cut_by_definition(text, stops);
        RC_ASSERT(out == expected);
        RC_ASSERT(stopped == (expected.size() < text.size()));
      },
      2000);
}

TEST_CASE("a stop string that comes in pieces is held back and cut") {
  stop_matcher matcher({"END"});
  CHECK(matcher.push("the E") == "the ");
  CHECK(matcher.push("ast") == "East");
  CHECK(matcher.push(" EN") == " ");
  CHECK(matcher.push("D.") == "");
  CHECK(matcher.stopped());
  CHECK(matcher.flush() == "");
}
