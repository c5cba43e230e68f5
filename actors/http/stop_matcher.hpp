// actors/http/stop_matcher.hpp: finds stop strings in text that comes in pieces, and holds back what may become one.
//
//   stops {"END"}   push "the E" -> "the "   push "ast" -> "East"   push " EN", "D." -> " ", stopped
//
// The stop whose last byte comes first rules; of two that end together, the longer. The answer is the text before it,
// however the text was cut into pieces. Work: one step an arriving byte and stop, whatever they are.
// Source  Knuth, Morris, Pratt: Fast pattern matching in strings (1977)
// Threads one owner
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quadrant::actors::http {

class stop_matcher {
public:
  /// None of `stops` is empty.
  explicit stop_matcher(const std::vector<std::string>& stops);

  /// The text that no stop can reach any more. After a stop: nothing.
  std::string push(std::string_view text);
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }
  /// The stop that came; empty before it.
  [[nodiscard]] const std::string& found() const noexcept { return found_; }
  /// What was held back, when the text has ended without a stop.
  std::string flush();

private:
  struct pattern {
    std::string text;
    std::vector<std::size_t> border; ///< [n]: the longest proper prefix of the first n bytes that is their suffix too
    std::size_t matched = 0;         ///< bytes of `text` that the text so far ends with
    void step(char c);
  };
  std::vector<pattern> patterns_;
  std::string held_, found_;
  bool stopped_ = false;
};

} // namespace quadrant::actors::http
