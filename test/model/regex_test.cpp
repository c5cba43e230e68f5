#include "model/text/regex.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace quadrant;
using model::regex;

namespace {

/// The matches in a text, as Oniguruma finds them.
std::vector<std::string> matches(const result<regex>& pattern, std::string_view text) {
  REQUIRE_MESSAGE(pattern.ok(), pattern.error().message);
  regex::scan scan(*pattern);
  std::vector<std::string> found;
  std::size_t done = 0;
  for (regex::match m; scan.next(text, done, m); done = m.end)
    found.emplace_back(text.substr(m.begin, m.end - m.begin));
  return found;
}
std::vector<std::string> matches(const char* pattern, std::string_view text) {
  return matches(regex::compile(pattern), text);
}

using words = std::vector<std::string>;

} // namespace

TEST_CASE("a pattern means what its authors measured") {
  CHECK(matches("^a|b$", "ab\nab\nba") == words{"a", "b", "a", "b"}); // the ends of a line
  CHECK(matches("\\s+", "a \u3000\u180eb\u0085") == words{" \u3000", "\u0085"});
  CHECK(matches("[\\sx]+", "a x\u180e") == words{" x"});
  CHECK(matches("\\S", "\u180e ") == words{"\u180e"});
  CHECK(matches("(?i:'s)", "'s'S'\u017f") == words{"'s", "'S", "'\u017f"});
  CHECK(matches("[]a&]+|[^]\\[]", "]a&[b") == words{"]a&", "b"});
  CHECK(matches("\\p{L}++|\\x{2581}?+", "ab\u2581") == words{"ab", "\u2581"});
}

TEST_CASE("a pattern that another library reads differently is refused") {
  for (const auto* pattern : {"\\w+", "a\\b", "\\h", "[\\S]", "[a[b]]", "[[:alpha:]]", "[a-z&&b]", "\\p{N}{1,3}+"}) {
    const auto compiled = regex::compile(pattern);
    REQUIRE_MESSAGE(!compiled.ok(), pattern);
    CHECK(compiled.error().code == errc::unavailable);
    CHECK(compiled.error().message.starts_with("regex " + std::string(pattern) + ": "));
  }
  CHECK(regex::compile("(\n").error().message.find('\n') == std::string::npos);
}

TEST_CASE("a literal is no pattern") {
  CHECK(matches(regex::literal(".*\\s"), "a.*\\s.*") == words{".*\\s"});
  CHECK(matches(regex::literal("\\E("), "\\E(") == words{"\\E("});
}
