#include "actors/loadgen/summary.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "actors/loadgen/duration_text.hpp"

namespace quadrant::actors::loadgen {

std::string_view to_string(metric m) noexcept {
  switch (m) {
  case metric::ttft: return "TTFT";
  case metric::tpot: return "TPOT";
  case metric::itl: return "ITL";
  case metric::e2e: return "E2E";
  }
  return "";
}

result<objective> parse_objective(std::string_view text) {
  const auto equals = std::min(text.find('='), text.size());
  const auto name = text.substr(0, equals);
  const auto limit = parse_duration(text.substr(std::min(equals + 1, text.size())));
  for (const auto& [known, m] : {std::pair("ttft", metric::ttft), {"tpot", metric::tpot}, {"e2e", metric::e2e}})
    if (name == known && limit) return objective{m, double(*limit) * 1e-6};
  return {errc::invalid_argument,
          "expected an objective, like ttft=500ms, tpot=50ms or e2e=5s, not '" + std::string(text) + "'"};
}

double percentile(const std::vector<double>& sorted, double percent) {
  const auto rank = std::ceil(percent * double(sorted.size()) / 100);
  return sorted[std::size_t(std::clamp(rank, 1.0, double(sorted.size()))) - 1];
}

distribution distribution_of(std::vector<double> values) {
  distribution d;
  d.sorted = std::move(values);
  if (d.sorted.empty()) return d;
  std::ranges::sort(d.sorted);
  d.mean = std::accumulate(d.sorted.begin(), d.sorted.end(), 0.0) / double(d.sorted.size());
  d.p50 = percentile(d.sorted, 50);
  d.p90 = percentile(d.sorted, 90);
  d.p99 = percentile(d.sorted, 99);
  d.max = d.sorted.back();
  return d;
}

bool is_good(const request_record& r, const std::vector<objective>& objectives) {
  return r.completed() && std::ranges::all_of(objectives, [&](const objective& o) {
           switch (o.of) {
           case metric::ttft: return r.ttft_ms() <= o.limit_ms;
           case metric::tpot: return !r.has_tpot() || r.tpot_ms() <= o.limit_ms;
           default: return r.e2e_ms() <= o.limit_ms;
           }
         });
}

summary summarise(const run_record& run, std::vector<objective> objectives, bool limited) {
  summary s;
  s.planned = run.requests.size();
  s.duration_s = double(run.duration_ns) * 1e-9;
  s.max_lag_ms = double(run.max_lag_ns) * 1e-6;
  s.max_in_flight = run.max_in_flight;
  s.interrupted = run.interrupted;
  s.objectives = std::move(objectives);
  std::vector<double> ttft, tpot, itl, e2e, wait;
  for (const auto& r : run.requests) {
    if (r.result == outcome::not_sent) continue;
    ++s.sent;
    s.cancelled += r.result == outcome::cancelled;
    s.rejected += r.result == outcome::rejected;
    wait.push_back(std::max(0.0, double(r.sent_ns - r.scheduled_ns) * 1e-6));
    if (r.failed()) {
      ++s.failed;
      auto& kind = s.by_kind[r.kind()];
      if (kind.count++ == 0) kind.first = r.message;
    }
    if (!r.completed()) continue;
    ++s.completed;
    s.good += is_good(r, s.objectives);
    s.with_usage += r.completion_tokens >= 0;
    s.input_tokens += r.prompt_tokens >= 0 ? r.prompt_tokens : r.input_asked;
    s.output_tokens += r.tokens();
    s.asked_input_tokens += r.input_asked;
    s.asked_output_tokens += r.output_asked;
    ttft.push_back(r.ttft_ms());
    e2e.push_back(r.e2e_ms());
    if (r.has_tpot()) tpot.push_back(r.tpot_ms());
    itl.insert(itl.end(), r.gaps_ms.begin(), r.gaps_ms.end());
  }
  s.of = {distribution_of(std::move(ttft)), distribution_of(std::move(tpot)), distribution_of(std::move(itl)),
          distribution_of(std::move(e2e))};
  if (limited) s.wait = distribution_of(std::move(wait));
  return s;
}

} // namespace quadrant::actors::loadgen
