// actors/http/metrics.hpp: what a server counts, and GET /metrics in Prometheus' text format 0.0.4.
//
// The server's own counters and the cluster's gauges stand in one page; every name begins with quadrant_.
// Written by hand: the format is three kinds of line, and the counters have one owner: no library and no lock.
// Threads one owner
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "actors/engine.hpp"

namespace quadrant::actors::http {

/// Counts of values up to each bound, and of all. Units of Prometheus: seconds.
class histogram {
public:
  explicit histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}
  void add(double value);
  void write(std::string& to, std::string_view name, std::string_view help) const;

private:
  std::span<const double> bounds_;
  std::vector<std::uint64_t> counts_; ///< of (bound[i-1], bound[i]]; the last has no bound
  double sum_ = 0;
};

enum class outcome : std::uint8_t { stop, length, cancelled, error };

class metrics {
public:
  metrics();

  void request_started(std::int32_t prompt_tokens);
  void token() { ++generation_tokens_; }
  void first_token(double seconds_since_request);
  /// seconds_per_token: mean of the gaps after the first token; where there is none, negative.
  void request_ended(outcome how, double seconds_per_token);
  void response(int status);
  void connections(std::int64_t now) { connections_ = now; }

  [[nodiscard]] std::string text(const cluster_status& cluster) const;

private:
  std::int64_t running_ = 0, connections_ = 0;
  std::array<std::uint64_t, 4> ended_{};
  std::array<std::uint64_t, 6> responses_{}; ///< by the first digit of the status
  std::uint64_t prompt_tokens_ = 0, generation_tokens_ = 0;
  histogram time_to_first_token_, time_per_output_token_;
};

} // namespace quadrant::actors::http
