#include "actors/http/metrics.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string_view>

namespace quadrant::actors::http {
namespace {

constexpr double first_token_bounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
                                         0.75,  1,     2.5,  5,    7.5,  10,   20,   40,  80};
constexpr double per_token_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                       0.15,   0.2,   0.3,    0.4,   0.5,  0.75,  1,    2.5};
constexpr std::array<std::string_view, 4> outcome_names = {"stop", "length", "cancelled", "error"};

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  return {digits, end.ptr};
}

void head(std::string& to, std::string_view name, std::string_view kind, std::string_view help) {
  to.append("# HELP ")
      .append(name)
      .append(" ")
      .append(help)
      .append("\n# TYPE ")
      .append(name)
      .append(" ")
      .append(kind)
      .append("\n");
}
/// labels: with their braces, or empty
void sample(std::string& to, std::string_view name, std::string_view labels, double value) {
  to.append(name).append(labels).append(" ").append(number(value)).append("\n");
}
void single(std::string& to, std::string_view name, std::string_view kind, std::string_view help, double value) {
  head(to, name, kind, help);
  sample(to, name, {}, value);
}

/// A name of the status as a metric's name.
std::string metric_name(std::string_view name) {
  std::string to = "quadrant_";
  for (const char c : name) to += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return to;
}

/// Gauges come as name{worker="..."}, or several of one name. Those of one name stand together, as the format asks.
void worker_gauges(std::string& to, const cluster_status& cluster) {
  std::map<std::string_view, std::vector<std::pair<std::string, double>>> by_name;
  for (const auto& [full, value] : cluster.gauges) {
    const auto name = std::string_view(full).substr(0, full.find('{'));
    auto& list = by_name[name];
    list.emplace_back(name.size() < full.size() ? full.substr(name.size())
                                                : "{worker=\"" + std::to_string(list.size()) + "\"}",
                      value);
  }
  for (const auto& [name, samples] : by_name) {
    const bool counter = name.ends_with("_seconds"); // time only grows
    const auto metric = metric_name(name) + (counter ? "_total" : "");
    head(to, metric, counter ? "counter" : "gauge", "As the worker reports it.");
    for (const auto& [labels, value] : samples) sample(to, metric, labels, value);
  }
}

void cluster_gauges(std::string& to, const cluster_status& cluster) {
  single(to, "quadrant_serving", "gauge", "1: the cluster takes requests.", cluster.serving ? 1 : 0);
  single(to, "quadrant_kv_blocks_capacity", "gauge", "KV blocks of prefill and decode.", double(cluster.blocks_total));
  single(to, "quadrant_kv_blocks_free", "gauge", "KV blocks that nobody holds.", double(cluster.blocks_free));
  single(to, "quadrant_kv_blocks_used", "gauge", "KV blocks that live requests hold.", double(cluster.blocks_used));
  single(to, "quadrant_kv_blocks_cached", "gauge", "KV blocks kept for their prefix.", double(cluster.blocks_cached));
  single(to, "quadrant_requests_live", "gauge", "Requests that the router counts, of every gateway.",
         double(cluster.requests_live));
  worker_gauges(to, cluster);
}

} // namespace

void histogram::add(double value) {
  const auto place = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  ++counts_[std::size_t(place)];
  sum_ += value;
}

void histogram::write(std::string& to, std::string_view name, std::string_view help) const {
  head(to, name, "histogram", help);
  const std::string base(name);
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    so_far += counts_[i];
    const auto bound = i < bounds_.size() ? number(bounds_[i]) : std::string("+Inf");
    sample(to, base + "_bucket", "{le=\"" + bound + "\"}", double(so_far));
  }
  sample(to, base + "_sum", {}, sum_);
  sample(to, base + "_count", {}, double(so_far));
}

metrics::metrics() : time_to_first_token_(first_token_bounds), time_per_output_token_(per_token_bounds) {}

void metrics::request_started(std::int32_t prompt_tokens) {
  ++running_;
  prompt_tokens_ += std::uint64_t(prompt_tokens);
}

void metrics::first_token(double seconds_since_request) { time_to_first_token_.add(seconds_since_request); }

void metrics::request_ended(outcome how, double seconds_per_token) {
  --running_;
  ++ended_[std::size_t(how)];
  if (seconds_per_token >= 0) time_per_output_token_.add(seconds_per_token);
}

void metrics::response(int status) { ++responses_[std::size_t(std::clamp(status / 100, 0, 5))]; }

std::string metrics::text(const cluster_status& cluster) const {
  std::string to;
  single(to, "quadrant_requests_running", "gauge", "Chat requests of this server that have no end yet.",
         double(running_));
  head(to, "quadrant_requests_total", "counter", "Chat requests that have ended, by how.");
  for (std::size_t i = 0; i < ended_.size(); ++i)
    sample(to, "quadrant_requests_total", "{finish_reason=\"" + std::string(outcome_names[i]) + "\"}",
           double(ended_[i]));
  single(to, "quadrant_prompt_tokens_total", "counter", "Tokens of prompts.", double(prompt_tokens_));
  single(to, "quadrant_generation_tokens_total", "counter", "Tokens made.", double(generation_tokens_));
  time_to_first_token_.write(to, "quadrant_time_to_first_token_seconds",
                             "From the whole request read to its first token.");
  time_per_output_token_.write(to, "quadrant_time_per_output_token_seconds",
                               "Mean gap between the tokens of a request.");
  head(to, "quadrant_http_responses_total", "counter", "HTTP responses, by class.");
  for (std::size_t i = 1; i < responses_.size(); ++i)
    sample(to, "quadrant_http_responses_total", "{class=\"" + std::to_string(i) + "xx\"}", double(responses_[i]));
  single(to, "quadrant_http_connections", "gauge", "Open connections.", double(connections_));
  cluster_gauges(to, cluster);
  return to;
}

} // namespace quadrant::actors::http
