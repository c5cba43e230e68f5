#include <map>
#include <regex>
#include <sstream>

#include <doctest/doctest.h>

#include "actors/http/metrics.hpp"

using namespace quadrant::actors;
using namespace quadrant::actors::http;

namespace {

cluster_status some_cluster() {
  cluster_status c;
  c.serving = true;
  c.blocks_total = 100, c.blocks_free = 60, c.blocks_used = 40;
  c.gauges = {{"device_busy_seconds{worker=\"decode.0\"}", 1.5},
              {"decode_idle_gap_ratio{worker=\"decode.0\"}", 0.25},
              {"device_busy_seconds{worker=\"prefill.0.0\"}", 2.5},
              {"odd-name", 7}};
  return c;
}

/// Every sample of a page that keeps to the format.
std::map<std::string, double> read_page(const std::string& page) {
  static const std::regex help(R"(# HELP ([\w:]+) .+)"), type(R"(# TYPE ([\w:]+) (counter|gauge|histogram))"),
      sample(R"(((?:quadrant_|vllm:)\w+)(\{\w+="(?:[^"\\]|\\.)*"(?:,\w+="(?:[^"\\]|\\.)*")*\})? (\S+))");
  std::map<std::string, double> samples;
  std::string family, line;
  std::istringstream lines(page);
  std::smatch m;
  while (std::getline(lines, line)) {
    CAPTURE(line);
    if (std::regex_match(line, m, help)) {
      family = m[1];
    } else if (std::regex_match(line, m, type)) {
      CHECK(m[1] == family);
    } else {
      REQUIRE(std::regex_match(line, m, sample));
      CHECK(m[1].str().starts_with(family));
      CHECK(samples.emplace(m[1].str() + m[2].str(), std::stod(m[3])).second); // no sample twice
    }
  }
  CHECK(page.ends_with("\n"));
  return samples;
}

} // namespace

TEST_CASE("the metrics page says what was counted, in Prometheus' format") {
  metrics m("a \"model\"");
  for (const auto tokens : {10, 20, 30}) m.request_started(tokens);
  m.request_begun();
  m.request_begun();
  m.prompt_read(10, 4);
  m.first_token(0.03);
  m.token(-1);
  for (int i = 0; i < 4; ++i) m.token(0.004);
  m.request_ended({.how = outcome::length, .begun = true, .seconds = 2, .seconds_per_token = 0.004});
  m.response("/v1/models", 200);
  m.response("/v1/models", 404);
  m.response("/v1/models", 404);
  m.connections(3);
  auto page = read_page(m.text(some_cluster()));
  CHECK(page["quadrant_requests_running"] == 1);
  CHECK(page["quadrant_requests_total{finish_reason=\"length\"}"] == 1);
  CHECK(page["quadrant_requests_total{finish_reason=\"stop\"}"] == 0);
  CHECK(page["quadrant_requests_waiting"] == 1);
  CHECK(page["quadrant_prompt_tokens_total"] == 60);
  CHECK(page["quadrant_prefix_cache_queries_total"] == 10);
  CHECK(page["quadrant_prefix_cache_hits_total"] == 4);
  CHECK(page["quadrant_inter_token_latency_seconds_count"] == 4);
  CHECK(page["quadrant_time_per_output_token_seconds_count"] == 1);
  CHECK(page["quadrant_request_latency_seconds_sum"] == 2);
  CHECK(page["quadrant_generation_tokens_total"] == 5);
  CHECK(page["quadrant_http_responses_total{endpoint=\"/v1/models\",code=\"404\"}"] == 2);
  CHECK(page["quadrant_http_connections"] == 3);
  CHECK(page["quadrant_kv_blocks_capacity"] == 100);
  CHECK(page["quadrant_kv_blocks_free"] == 60);
  CHECK(page["quadrant_kv_blocks_used"] == 40);
  CHECK(page["quadrant_device_busy_seconds_total{worker=\"decode.0\"}"] == 1.5);
  CHECK(page["quadrant_device_busy_seconds_total{worker=\"prefill.0.0\"}"] == 2.5);
  CHECK(page["quadrant_decode_idle_gap_ratio{worker=\"decode.0\"}"] == 0.25);
  CHECK(page["quadrant_odd_name{worker=\"0\"}"] == 7);
}

TEST_CASE("a histogram's buckets hold all that is not above their bound") {
  metrics m("m");
  for (const double seconds : {0.0005, 0.001, 0.0011, 1000.0}) m.first_token(seconds);
  auto page = read_page(m.text({}));
  const std::string name = "quadrant_time_to_first_token_seconds";
  CHECK(page[name + "_bucket{le=\"0.001\"}"] == 2);
  CHECK(page[name + "_bucket{le=\"0.005\"}"] == 3);
  CHECK(page[name + "_bucket{le=\"80\"}"] == 3);
  CHECK(page[name + "_bucket{le=\"+Inf\"}"] == 4);
  CHECK(page[name + "_count"] == 4);
  CHECK(page[name + "_sum"] == doctest::Approx(1000.0026));
}

TEST_CASE("dashboards find their names, with the same values and the model's name") {
  metrics m("m");
  m.request_started(10);
  m.request_started(10);
  m.request_begun();
  m.request_begun();
  m.prompt_read(10, 6);
  m.token(-1);
  m.token(0.25);
  m.first_token(0.5);
  m.request_ended({.how = outcome::cancelled, .begun = true, .seconds = 3, .seconds_per_token = -1});
  m.request_started(10);
  auto page = read_page(m.text(some_cluster()));
  const auto value = [&](const std::string& name, const std::string& more = {}) {
    const auto found = page.find("vllm:" + name + "{model_name=\"m\"" + more + "}");
    REQUIRE(found != page.end());
    return found->second;
  };
  CHECK(value("num_requests_running") == 1);
  CHECK(value("num_requests_waiting") == 1);
  CHECK(value("kv_cache_usage_perc") == 0.4);
  CHECK(value("gpu_cache_usage_perc") == 0.4);
  CHECK(value("prompt_tokens_total") == 30);
  CHECK(value("generation_tokens_total") == 2);
  CHECK(value("prefix_cache_queries_total") == 10);
  CHECK(value("prefix_cache_hits_total") == 6);
  CHECK(value("request_success_total", ",finished_reason=\"abort\"") == 1);
  CHECK(value("time_to_first_token_seconds_bucket", ",le=\"0.5\"") == 1);
  CHECK(value("inter_token_latency_seconds_count") == 1);
  CHECK(value("time_per_output_token_seconds_sum") == 0.25);
  CHECK(value("e2e_request_latency_seconds_sum") == 3);
}
