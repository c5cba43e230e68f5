#include <algorithm>
#include <numeric>

#include "actors/loadgen/report.hpp"
#include "actors/loadgen/summary.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

namespace {

constexpr std::int64_t ms = 1'000'000;

request_record answered(int sent_ms, int ttft_ms, int e2e_ms, int tokens) {
  request_record r;
  r.sent_ns = sent_ms * ms;
  r.first_ns = r.sent_ns + ttft_ms * ms;
  r.ended_ns = r.sent_ns + e2e_ms * ms;
  r.prompt_tokens = 10;
  r.completion_tokens = tokens;
  r.result = outcome::completed;
  r.status = 200;
  return r;
}

} // namespace

TEST_CASE("percentile") {
  test::property("is the smallest value that so many do not pass, and no other", [] {
    auto values = *rc::gen::nonEmpty(rc::gen::container<std::vector<double>>(
        rc::gen::map(rc::gen::inRange(0, 50), [](int v) { return double(v) / 7; })));
    const int percent = *rc::gen::inRange(1, 101);
    std::ranges::sort(values);
    const auto found = percentile(values, percent);
    const auto not_above = [&](double v) { return std::ranges::count_if(values, [v](double x) { return x <= v; }); };
    std::vector<double> enough;
    for (const auto v : values)
      if (100 * not_above(v) >= percent * std::int64_t(values.size())) enough.push_back(v);
    RC_ASSERT(found == *std::ranges::min_element(enough));
  });
}

TEST_CASE("a distribution of known values") {
  std::vector<double> values(100);
  std::iota(values.rbegin(), values.rend(), 1);
  const auto d = distribution_of(values);
  CHECK(d.p50 == 50);
  CHECK(d.p90 == 90);
  CHECK(d.p99 == 99);
  CHECK(d.max == 100);
  CHECK(d.mean == 50.5);
  CHECK(distribution_of({}).sorted.empty());
}

TEST_CASE("goodput counts the requests that hold every objective, a second of the run") {
  run_record run;
  run.duration_ns = 2000 * ms;
  run.requests = {
      answered(0, 100, 500, 5), answered(0, 300, 500, 5), answered(0, 100, 900, 5), answered(0, 100, 100, 1), {}};
  run.requests.push_back({});
  run.requests.back().result = outcome::http_error;
  run.requests.back().status = 503;
  run.requests.back().message = "no";
  std::vector<objective> objectives;
  for (const auto* text : {"ttft=200ms", "tpot=0.1s", "e2e=1s"}) objectives.push_back(*parse_objective(text));
  const auto s = summarise(run, objectives, false);
  CHECK(s.planned == 6);
  CHECK(s.sent == 5);
  CHECK(s.completed == 4);
  CHECK(s.failed == 1);
  CHECK(s.good == 2); // the second is late with its first token, the third slow after it; the fourth has no second one
  CHECK(s.a_second(double(s.good)) == 1);
  CHECK(s.output_tokens == 16);
  CHECK(s.by_kind.at("http 503").first == "no");
  CHECK(s[metric::tpot].sorted.size() == 3);

  const auto j = to_json(s, {{"seed", 1}});
  CHECK(j["goodput"]["share"] == 0.4); // of the five that ended
  CHECK(j["throughput"]["requests_per_s"] == 2);
  CHECK(j["settings"]["seed"] == 1);
  CHECK(to_table(s).find("1 × http 503: no") != std::string::npos);
  CHECK(nlohmann::json::parse(to_json_line(run.requests[0], 0, objectives))["good"] == true);
  CHECK(nlohmann::json::parse(to_json_line(run.requests[4], 4, objectives))["result"] == "not sent");
}

TEST_CASE("a run in which nothing came back is a report all the same") {
  run_record run;
  run.requests.resize(3);
  for (auto& r : run.requests) r.result = outcome::connect;
  const auto s = summarise(run, {}, true);
  CHECK(s.failed == 3);
  CHECK(to_json(s, {})["latency_ms"]["ttft"]["count"] == 0);
  CHECK(to_json(s, {})["goodput"].is_null());
  CHECK(to_table(s).find("3 × connect") != std::string::npos);
}
