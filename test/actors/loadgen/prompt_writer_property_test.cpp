#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "actors/loadgen/prompt_writer.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

namespace {

std::size_t words_in(const std::string& text) { return std::size_t(std::ranges::count(text, ' ')) + 1; }

trace_row row(std::int32_t tokens, std::vector<std::uint64_t> blocks) {
  return {.at_ns = 0, .input_tokens = tokens, .output_tokens = 1, .blocks = std::move(blocks)};
}

} // namespace

TEST_CASE("prompt_writer") {
  test::property("a prompt is as many words as make its tokens", [] {
    const token_rate rate{double(*rc::gen::inRange(20, 400)) / 100, double(*rc::gen::inRange(0, 30))};
    const auto tokens = *rc::gen::inRange(1, 5000);
    std::vector<std::uint64_t> blocks(std::size_t(*rc::gen::inRange(0, 12)));
    const auto text = prompt_writer(1, rate, 512).write(row(tokens, blocks), 3);
    RC_ASSERT(std::abs(rate.overhead + rate.per_word * double(words_in(text)) - tokens) <=
              std::max(rate.per_word, rate.overhead + rate.per_word - tokens));
  });

  test::property("prompts are alike as far as their blocks are, and no further", [] {
    const auto ids = rc::gen::container<std::vector<std::uint64_t>>(rc::gen::inRange<std::uint64_t>(0, 3));
    const auto a = *ids, b = *ids;
    const token_rate rate{1.5, 7};
    const prompt_writer writer(*rc::gen::arbitrary<std::uint64_t>(), rate, 60); // 40 words
    const auto size = [](const auto& list) {
      return std::int32_t(7 + 60 * list.size() + 60);
    }; // a block more, of its own
    const auto one = writer.write(row(size(a), a), 1), other = writer.write(row(size(b), b), 2);
    const auto blocks = std::size_t(std::ranges::mismatch(a, b).in1 - a.begin());
    const auto bytes = std::size_t(std::ranges::mismatch(one, other).in1 - one.begin());
    const auto alike = std::size_t(std::ranges::count(one.substr(0, bytes), ' '));
    RC_ASSERT(alike >= blocks * 40 - (blocks > 0 ? 1 : 0)); // spaces in front of the words, but the first
    RC_ASSERT(alike < blocks * 40 + 20);
  });
}

TEST_CASE("prompts repeat for a seed and differ for another, and so do requests that share nothing") {
  const prompt_writer a(1, {}, 512), b(2, {}, 512);
  CHECK(a.write(row(100, {}), 0) == a.write(row(100, {}), 0));
  CHECK(a.write(row(100, {}), 0) != a.write(row(100, {}), 1));
  CHECK(a.write(row(100, {}), 0) != b.write(row(100, {}), 0));
  CHECK(a.write(row(100, {5}), 0) == a.write(row(100, {5}), 1));
  CHECK(a.write(row(100, {5}), 0) != b.write(row(100, {5}), 0));
  CHECK(a.write(row(1, {}), 0).find(' ') == std::string::npos);
}

TEST_CASE("every word is another, so that counting all of them once is the mean of any prompt") {
  std::istringstream in(words_in_turn(num_words));
  std::set<std::string> seen;
  for (std::string word; in >> word;) CHECK(seen.insert(word).second);
  CHECK(seen.size() == num_words);
  CHECK(words_in_turn(num_words + 1) == words_in_turn(num_words) + " " + words_in_turn(1));
}
