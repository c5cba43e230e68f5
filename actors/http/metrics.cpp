#include "actors/http/metrics.hpp"

#include <vector>

namespace quadrant::actors::http {
namespace {

constexpr double first_token_bounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
                                         0.75,  1,     2.5,  5,    7.5,  10,   20,   40,  80};
constexpr double per_token_bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                       0.15,   0.2,   0.3,    0.4,   0.5,  0.75,  1,    2.5};
constexpr double request_bounds[] = {0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240};
constexpr std::array<std::string_view, 4> outcome_names = {"stop", "length", "cancelled", "error"};
constexpr std::array<std::string_view, 4> alias_outcome_names = {"stop", "length", "abort", "error"};

/// A name of the status as a metric's name.
std::string metric_name(std::string_view name) {
  std::string to = "quadrant_";
  for (const char c : name) to += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
  return to;
}

/// Gauges come as name{worker="..."}, or several of one name. Those of one name stand together, as the format asks.
void worker_gauges(prometheus_text& to, const cluster_status& cluster) {
  std::map<std::string_view, std::vector<std::pair<std::string, double>>> by_name;
  for (const auto& [full, value] : cluster.gauges) {
    const auto brace = full.find('{');
    auto& list = by_name[std::string_view(full).substr(0, brace)];
    list.emplace_back(brace == full.npos ? label("worker", std::to_string(list.size()))
                                         : full.substr(brace + 1, full.size() - brace - 2),
                      value);
  }
  for (const auto& [name, samples] : by_name) {
    const bool counter = name.ends_with("_seconds"); // time only grows
    to.metric(metric_name(name) + (counter ? "_total" : ""), counter ? "counter" : "gauge",
              "As the worker reports it.");
    for (const auto& [labels, value] : samples) to.sample(value, labels);
  }
}

void cluster_gauges(prometheus_text& to, const cluster_status& cluster) {
  to.single("quadrant_serving", "gauge", "1: the cluster takes requests.", cluster.serving ? 1 : 0);
  to.single("quadrant_kv_blocks_capacity", "gauge", "KV blocks of prefill and decode.", double(cluster.blocks_total));
  to.single("quadrant_kv_blocks_free", "gauge", "KV blocks that nobody holds.", double(cluster.blocks_free));
  to.single("quadrant_kv_blocks_used", "gauge", "KV blocks that live requests hold.", double(cluster.blocks_used));
  to.single("quadrant_kv_blocks_cached", "gauge", "KV blocks kept for their prefix.", double(cluster.blocks_cached));
  to.single("quadrant_requests_live", "gauge", "Requests that the router counts, of every gateway.",
            double(cluster.requests_live));
  worker_gauges(to, cluster);
}

} // namespace

std::string_view to_string(outcome how) noexcept { return outcome_names[std::size_t(how)]; }

metrics::metrics(std::string model)
    : model_(std::move(model)), time_to_first_token_(first_token_bounds), time_per_output_token_(per_token_bounds),
      inter_token_latency_(per_token_bounds), request_latency_(request_bounds) {}

void metrics::request_started(std::int32_t prompt_tokens) {
  ++waiting_;
  prompt_tokens_ += std::uint64_t(prompt_tokens);
}

void metrics::request_begun() {
  --waiting_;
  ++running_;
}

void metrics::prompt_read(std::int32_t tokens, std::int32_t cached) {
  read_tokens_ += std::uint64_t(tokens);
  cached_tokens_ += std::uint64_t(cached);
}

void metrics::first_token(double seconds_since_request) { time_to_first_token_.add(seconds_since_request); }

void metrics::token(double since_last) {
  ++generation_tokens_;
  if (since_last >= 0) inter_token_latency_.add(since_last);
}

void metrics::request_ended(const end& e) {
  --(e.begun ? running_ : waiting_);
  ++ended_[std::size_t(e.how)];
  request_latency_.add(e.seconds);
  if (e.seconds_per_token >= 0) time_per_output_token_.add(e.seconds_per_token);
}

// ---- the page ----------------------------------------------------------------------------------------------------

void metrics::write_own(prometheus_text& to) const {
  to.single("quadrant_requests_running", "gauge", "Requests of this server that the cluster has begun.",
            double(running_));
  to.single("quadrant_requests_waiting", "gauge", "Requests of this server that the cluster has not begun.",
            double(waiting_));
  to.metric("quadrant_requests_total", "counter", "Requests that have ended, by how.");
  for (std::size_t i = 0; i < ended_.size(); ++i)
    to.sample(double(ended_[i]), label("finish_reason", outcome_names[i]));
  to.single("quadrant_prompt_tokens_total", "counter", "Tokens of prompts.", double(prompt_tokens_));
  to.single("quadrant_generation_tokens_total", "counter", "Tokens made.", double(generation_tokens_));
  to.single("quadrant_prefix_cache_queries_total", "counter", "Tokens of prompts looked for in the prefix cache.",
            double(read_tokens_));
  to.single("quadrant_prefix_cache_hits_total", "counter", "Those that were found and needed no computation.",
            double(cached_tokens_));
  to.single("quadrant_time_to_first_token_seconds", "From the whole request read to its first token.",
            time_to_first_token_);
  to.single("quadrant_inter_token_latency_seconds", "Each gap between two tokens of a choice.", inter_token_latency_);
  to.single("quadrant_time_per_output_token_seconds", "Mean gap between the tokens of a request with one choice.",
            time_per_output_token_);
  to.single("quadrant_request_latency_seconds", "From the whole request read to its end.", request_latency_);
  to.metric("quadrant_http_responses_total", "counter", "HTTP responses, by endpoint and status.");
  for (const auto& [key, count] : responses_)
    to.sample(double(count), label("endpoint", key.first) + "," + label("code", std::to_string(key.second)));
  to.single("quadrant_http_connections", "gauge", "Open connections.", double(connections_));
}

void metrics::write_aliases(prometheus_text& to, const cluster_status& cluster) const {
  constexpr std::string_view help = "The same as the quadrant_ metric of this meaning.";
  to.set_labels(label("model_name", model_));
  const auto used = cluster.blocks_total > 0 ? double(cluster.blocks_used) / double(cluster.blocks_total) : 0.0;
  to.single("vllm:num_requests_running", "gauge", help, double(running_));
  to.single("vllm:num_requests_waiting", "gauge", help, double(waiting_));
  for (const auto* name : {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"})
    to.single(name, "gauge", "Share of the KV blocks that live requests hold, from 0 to 1.", used);
  to.single("vllm:prompt_tokens_total", "counter", help, double(prompt_tokens_));
  to.single("vllm:generation_tokens_total", "counter", help, double(generation_tokens_));
  to.single("vllm:prefix_cache_queries_total", "counter", help, double(read_tokens_));
  to.single("vllm:prefix_cache_hits_total", "counter", help, double(cached_tokens_));
  to.metric("vllm:request_success_total", "counter", help);
  for (std::size_t i = 0; i < ended_.size(); ++i)
    to.sample(double(ended_[i]), label("finished_reason", alias_outcome_names[i]));
  to.single("vllm:time_to_first_token_seconds", help, time_to_first_token_);
  for (const auto* name : {"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"})
    to.single(name, help, inter_token_latency_);
  to.single("vllm:e2e_request_latency_seconds", help, request_latency_);
}

std::string metrics::text(const cluster_status& cluster) const {
  prometheus_text page;
  write_own(page);
  cluster_gauges(page, cluster);
  write_aliases(page, cluster);
  return page.text();
}

} // namespace quadrant::actors::http
