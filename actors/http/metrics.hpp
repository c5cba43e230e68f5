// actors/http/metrics.hpp: what a server counts, and GET /metrics in Prometheus' text format 0.0.4.
//
// The server's own counters and the cluster's gauges stand in one page; every name begins with quadrant_. What dashboards
// for vLLM ask for stands there again under its names, vllm:…, with the same values.
// Threads one owner
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "actors/engine.hpp"
#include "actors/http/prometheus_text.hpp"

namespace quadrant::actors::http {

enum class outcome : std::uint8_t { stop, length, cancelled, error };
std::string_view to_string(outcome how) noexcept;

class metrics {
public:
  /// model: its name, a label of the aliases
  explicit metrics(std::string model);

  void request_started(std::int32_t prompt_tokens);
  /// The cluster has begun with it.
  void request_begun();
  /// Of the prompt's tokens so many needed no computation.
  void prompt_read(std::int32_t tokens, std::int32_t cached);
  void first_token(double seconds_since_request);
  /// since_last: seconds from the token before it in its choice; negative: it is the first
  void token(double since_last);
  struct end {
    outcome how;
    bool begun;
    double seconds;           ///< from the whole request read
    double seconds_per_token; ///< mean of the gaps after the first token; where there is none, negative
  };
  void request_ended(const end& e);
  /// endpoint: one of a few words; it is kept as it is
  void response(std::string_view endpoint, int status) { ++responses_[{endpoint, status}]; }
  void connections(std::int64_t now) { connections_ = now; }

  [[nodiscard]] std::string text(const cluster_status& cluster) const;

private:
  void write_own(prometheus_text& to) const;
  void write_aliases(prometheus_text& to, const cluster_status& cluster) const;

  std::string model_;
  std::int64_t running_ = 0, waiting_ = 0, connections_ = 0;
  std::array<std::uint64_t, 4> ended_{};
  std::map<std::pair<std::string_view, int>, std::uint64_t> responses_;
  std::uint64_t prompt_tokens_ = 0, generation_tokens_ = 0, read_tokens_ = 0, cached_tokens_ = 0;
  histogram time_to_first_token_, time_per_output_token_, inter_token_latency_, request_latency_;
};

} // namespace quadrant::actors::http
