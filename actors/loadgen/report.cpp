#include "actors/loadgen/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace quadrant::actors::loadgen {
namespace {

using json = nlohmann::ordered_json;

[[gnu::format(printf, 2, 3)]] void append(std::string& to, const char* format, ...) {
  std::va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const auto size = std::vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string text(std::size_t(size) + 1, '\0');
  std::vsnprintf(text.data(), text.size(), format, again);
  va_end(again);
  text.pop_back();
  to += text;
}

void append_row(std::string& to, const std::string& name, const distribution& d) {
  append(to, "%-10s", name.c_str());
  for (const auto value : {d.mean, d.p50, d.p90, d.p99, d.max})
    append(to, " %10s", d.sorted.empty() ? "-" : rounded(value).c_str());
  append(to, " %10zu\n", d.sorted.size());
}

std::string lower(std::string_view text) {
  std::string small(text);
  for (auto& c : small) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  return small;
}

const char* counted_by(const summary& s) {
  if (s.with_usage == s.completed) return "usage";
  return s.with_usage == 0 ? "chunks" : "usage, or chunks where a server sent none";
}

json to_json(const distribution& d) {
  if (d.sorted.empty()) return {{"count", 0}};
  return {{"count", d.sorted.size()}, {"mean", d.mean}, {"p50", d.p50}, {"p90", d.p90}, {"p99", d.p99}, {"max", d.max}};
}

json or_null(std::int32_t count) { return count < 0 ? json(nullptr) : json(count); }

void append_doubts(std::string& to, const summary& s) {
  if (s.max_lag_ms > trusted_lag_ms)
    append(to,
           "\nThe generator released a request %.0f ms late: this machine was too busy for it, and the times hold some "
           "of that.\n",
           s.max_lag_ms);
  if (s.completed > s.with_usage)
    append(to,
           "\nThe server sent no usage with %zu of the answers: their tokens are the pieces that came, which may hold "
           "several each.\n",
           s.completed - s.with_usage);
}

} // namespace

std::string rounded(double value) {
  char text[32];
  const int digits = value < 1e-3 ? 4 : std::max(0, 3 - int(std::floor(std::log10(value))));
  std::snprintf(text, sizeof text, "%.*f", value == 0 ? 0 : std::min(digits, 4), value);
  return text;
}

std::string to_table(const summary& s) {
  std::string t;
  append(t, "requests   %zu of %zu completed in %.2f s, %zu failed", s.completed, s.planned, s.duration_s, s.failed);
  if (s.cancelled > 0) append(t, ", %zu cut off", s.cancelled);
  if (s.sent < s.planned) append(t, ", %zu not sent", s.planned - s.sent);
  append(t, "%s; at most %zu under way\n", s.interrupted ? " (interrupted)" : "", s.max_in_flight);
  for (const auto& [kind, those] : s.by_kind)
    append(t, "           %zu × %s%s%s\n", those.count, kind.c_str(), those.first.empty() ? "" : ": ",
           those.first.c_str());
  append(t, "tokens     %lld in", (long long)s.input_tokens);
  if (s.asked_input_tokens > 0) append(t, " (planned %lld)", (long long)s.asked_input_tokens);
  append(t, ", %lld out (planned %lld), counted by %s\n", (long long)s.output_tokens, (long long)s.asked_output_tokens,
         counted_by(s));
  append(t, "generator  at most %.1f ms behind its schedule\n\n", s.max_lag_ms);

  append(t, "%-10s %10s %10s %10s %10s %10s %10s\n", "", "mean", "p50", "p90", "p99", "max", "values");
  for (const auto m : all_metrics) append_row(t, std::string(to_string(m)) + " ms", s[m]);
  if (s.wait) append_row(t, "waited ms", *s.wait);

  append(t, "\nthroughput %s requests/s, %s tokens/s in, %s tokens/s out\n",
         rounded(s.a_second(double(s.completed))).c_str(), rounded(s.a_second(double(s.input_tokens))).c_str(),
         rounded(s.a_second(double(s.output_tokens))).c_str());
  if (!s.objectives.empty()) {
    append(t, "goodput    %s requests/s: %zu of %zu within", rounded(s.a_second(double(s.good))).c_str(), s.good,
           s.ended());
    for (std::size_t i = 0; i < s.objectives.size(); ++i)
      append(t, "%s %s %g ms", i == 0 ? "" : ",", std::string(to_string(s.objectives[i].of)).c_str(),
             s.objectives[i].limit_ms);
    t += '\n';
  }
  append_doubts(t, s);
  return t;
}

json to_json(const summary& s, json settings) {
  json failures = json::object(), latency = json::object(), limits = json::object();
  for (const auto& [kind, those] : s.by_kind) failures[kind] = {{"count", those.count}, {"first", those.first}};
  for (const auto m : all_metrics) latency[lower(to_string(m))] = to_json(s[m]);
  if (s.wait) latency["wait"] = to_json(*s.wait);
  for (const auto& o : s.objectives) limits[lower(to_string(o.of)) + "_ms"] = o.limit_ms;
  json goodput = nullptr;
  if (!s.objectives.empty())
    goodput = {{"objectives", limits},
               {"requests", s.good},
               {"share", s.ended() == 0 ? 0 : double(s.good) / double(s.ended())},
               {"requests_per_s", s.a_second(double(s.good))}};
  return {{"version", 1},
          {"settings", std::move(settings)},
          {"requests",
           {{"planned", s.planned},
            {"sent", s.sent},
            {"completed", s.completed},
            {"failed", s.failed},
            {"rejected", s.rejected},
            {"cancelled", s.cancelled}}},
          {"failures", failures},
          {"interrupted", s.interrupted},
          {"duration_s", s.duration_s},
          {"tokens",
           {{"input", s.input_tokens},
            {"input_asked", s.asked_input_tokens},
            {"output", s.output_tokens},
            {"output_asked", s.asked_output_tokens},
            {"requests_with_usage", s.with_usage}}},
          {"latency_ms", latency},
          {"throughput",
           {{"requests_per_s", s.a_second(double(s.completed))},
            {"input_tokens_per_s", s.a_second(double(s.input_tokens))},
            {"output_tokens_per_s", s.a_second(double(s.output_tokens))}}},
          {"goodput", goodput},
          {"generator", {{"max_lag_ms", s.max_lag_ms}, {"max_in_flight", s.max_in_flight}}}};
}

std::string to_json_line(const request_record& r, std::size_t index, const std::vector<objective>& objectives) {
  json line{{"index", index},
            {"result", r.kind()},
            {"status", r.status == 0 ? json(nullptr) : json(r.status)},
            {"message", r.message.empty() ? json(nullptr) : json(r.message)},
            {"scheduled_ms", double(r.scheduled_ns) * 1e-6},
            {"input_asked", r.input_asked},
            {"output_asked", r.output_asked}};
  if (r.result != outcome::not_sent) {
    line["sent_ms"] = double(r.sent_ns) * 1e-6;
    line["ended_ms"] = double(r.ended_ns) * 1e-6;
    line["prompt_tokens"] = or_null(r.prompt_tokens);
    line["completion_tokens"] = or_null(r.completion_tokens);
    line["chunks"] = r.chunks();
    line["ttft_ms"] = r.first_ns > 0 ? json(r.ttft_ms()) : json(nullptr);
    line["tpot_ms"] = r.completed() && r.has_tpot() ? json(r.tpot_ms()) : json(nullptr);
    line["e2e_ms"] = r.completed() ? json(r.e2e_ms()) : json(nullptr);
    line["itl_ms"] = r.gaps_ms;
    line["good"] = is_good(r, objectives);
  }
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace quadrant::actors::loadgen
