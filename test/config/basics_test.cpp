#include <memory>
#include <set>

#include <doctest/doctest.h>

#include "config/hash.hpp"
#include "config/random.hpp"
#include "config/result.hpp"

using namespace quadrant;

namespace {

result<int> half(int x) {
  if (x % 2 != 0) return {errc::invalid_argument, std::to_string(x) + " is odd"};
  return x / 2;
}

result<int> quarter(int x) {
  QUADRANT_TRY(const auto h, half(x));
  QUADRANT_TRY(const auto q, half(h));
  return q;
}

result<void> divisible_by_four(int x) {
  QUADRANT_TRY_VOID(quarter(x).ok() ? result<void>() : result<void>(errc::corrupt, "no"));
  if (x > 100)
    QUADRANT_TRY_VOID(result<void>(errc::unavailable, "too large"));
  else
    return {};
  return {errc::numeric, "never reached"};
}

} // namespace

TEST_CASE("QUADRANT_TRY goes on with the value or returns the error, message and all") {
  CHECK(*quarter(12) == 3);
  CHECK(quarter(7).error().message == "7 is odd");
  CHECK(quarter(6).error().message == "3 is odd");
  CHECK(quarter(6).error().code == errc::invalid_argument);
}

TEST_CASE("QUADRANT_TRY_VOID is one statement, under an if too") {
  CHECK(divisible_by_four(8).ok());
  CHECK(divisible_by_four(6).error().code == errc::corrupt);
  CHECK(divisible_by_four(104).error().code == errc::unavailable);
}

TEST_CASE("a result holds what can only be moved") {
  result<std::unique_ptr<int>> made = std::make_unique<int>(5);
  REQUIRE(made.ok());
  const auto taken = std::move(made).value();
  CHECK(*taken == 5);
}

TEST_CASE("every error code has its own words") {
  std::set<std::string_view> words;
  for (int code = 0; code <= int(errc::numeric); ++code) words.insert(to_string(errc(code)));
  CHECK(words.size() == std::size_t(errc::numeric) + 1);
  CHECK_FALSE(words.contains("unknown"));
}

TEST_CASE("xxh3 is the published function, and sees its seed") {
  // Test vectors of the xxHash specification.
  CHECK(xxh3(std::string_view("")) == 0x2D06800538D394C2u);
  CHECK(xxh3(std::string_view("a")) == 0xE6C632B61E964E1Fu);
  CHECK(xxh3(std::string_view("abc")) == 0x78AF5F94892F3950u);
  const std::string_view text = "the same bytes";
  CHECK(xxh3(text) == xxh3(std::as_bytes(std::span(text.data(), text.size()))));
  CHECK(xxh3(text, 1) != xxh3(text, 2));
}

TEST_CASE("a hash is shown as sixteen digits") {
  CHECK(to_hex(0) == "0000000000000000");
  CHECK(to_hex(0xDEADBEEF) == "00000000deadbeef");
  CHECK(to_hex(~std::uint64_t{0}) == "ffffffffffffffff");
}

TEST_CASE("random numbers do not repeat") {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random_u64());
  CHECK(seen.size() == 1000);
}
