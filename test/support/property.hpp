// test/support/property.hpp: a law under random inputs (rapidcheck) inside a doctest case.
//
//   TEST_CASE("block_pool") {
//     property("free + used == total", [](const std::vector<std::uint8_t>& calls) { ...; RC_ASSERT(...); });
//   }
//
// Inside the law use RC_ASSERT, RC_PRE, `*rc::gen::...`, not CHECK: rapidcheck must see the failure to shrink its
// input. Replay  a failure prints its line: RC_PARAMS="reproduce=..." <program> runs that one input again,
//         RC_PARAMS="seed=..." the whole sequence of inputs
// Cases   `cases`, or 20 times as many with QUADRANT_LONG=1; RC_PARAMS="max_success=..." rules over both
#pragma once
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>
#include <rapidcheck.h>

namespace quadrant::test {

inline bool long_run() {
  const char* value = std::getenv("QUADRANT_LONG");
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

template <class Testable>
void property(const std::string& law, Testable&& testable, int cases = 100) {
  auto params = rc::detail::configuration().testParams; // the first call prints the seed
  const char* asked = std::getenv("RC_PARAMS");
  if (asked == nullptr || std::string_view(asked).find("max_success") == std::string_view::npos)
    params.maxSuccess = cases * (long_run() ? 20 : 1);

  rc::detail::TestMetadata metadata;
  metadata.id = law;
  metadata.description = law;
  const auto outcome = rc::detail::checkTestable(std::forward<Testable>(testable), metadata, params);
  if (outcome.template is<rc::detail::SuccessResult>()) {
    CHECK_MESSAGE(true, law); // counted
    return;
  }
  std::ostringstream text;
  rc::detail::printResultMessage(outcome, text);
  FAIL_CHECK(law << "\nseed " << params.seed << "\n" << text.str());
}

} // namespace quadrant::test
