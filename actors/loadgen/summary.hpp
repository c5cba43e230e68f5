// actors/loadgen/summary.hpp: the records of a run as its few numbers.
//
//   TTFT  from sending a request to the first piece of its text          one value a request
//   E2E   from sending it to the end of its answer                       one value a request
//   TPOT  (E2E - TTFT) / (n - 1), of answers of n > 1 tokens             one value a request
//   ITL   the gaps between the pieces of text, as they came              all gaps of all requests
// All of completed requests only. A percentile p of N values is the smallest of them that p % of them do not pass: the
// ceil(p N / 100)th; no value is made up between two.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/loadgen/generator.hpp"
#include "config/result.hpp"

namespace quadrant::actors::loadgen {

enum class metric : std::uint8_t { ttft, tpot, itl, e2e };
inline constexpr std::array<metric, 4> all_metrics{metric::ttft, metric::tpot, metric::itl, metric::e2e};
std::string_view to_string(metric m) noexcept; ///< "TTFT"

/// What a request must not pass to count as good.
struct objective {
  metric of = metric::ttft; ///< never itl
  double limit_ms = 0;
};
/// "ttft=500ms". Errors  errc::invalid_argument
result<objective> parse_objective(std::string_view text);

/// Of one value and more, sorted.
double percentile(const std::vector<double>& sorted, double percent);

struct distribution {
  std::vector<double> sorted; ///< ms
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;
};
distribution distribution_of(std::vector<double> values);

/// Does the answer hold every objective? One of a single token has no TPOT to miss.
bool is_good(const request_record& r, const std::vector<objective>& objectives);

struct summary {
  struct failures {
    std::size_t count = 0;
    std::string first; ///< the message of the first of them
  };
  std::size_t planned = 0, sent = 0, completed = 0, failed = 0, rejected = 0, cancelled = 0; ///< rejected: of failed
  std::map<std::string, failures> by_kind;                                                   ///< of those that failed
  double duration_s = 0, max_lag_ms = 0;
  std::size_t max_in_flight = 0;
  bool interrupted = false;

  std::int64_t input_tokens = 0, output_tokens = 0, asked_input_tokens = 0, asked_output_tokens = 0; ///< of completed
  std::size_t with_usage = 0;       ///< completed requests whose tokens the server counted
  std::array<distribution, 4> of;   ///< by metric
  std::optional<distribution> wait; ///< before sending, for max_concurrency
  std::vector<objective> objectives;
  std::size_t good = 0; ///< completed, and within all objectives

  /// Those that came to an end of their own, good or bad.
  [[nodiscard]] std::size_t ended() const { return completed + failed; }
  [[nodiscard]] double a_second(double count) const { return duration_s > 0 ? count / duration_s : 0; }
  [[nodiscard]] const distribution& operator[](metric m) const { return of[std::size_t(m)]; }
};

summary summarise(const run_record& run, std::vector<objective> objectives, bool limited);

/// Above this the generator was late, and what it measured is its own doing as well.
inline constexpr double trusted_lag_ms = 20;

} // namespace quadrant::actors::loadgen
