// actors/http/prometheus_text.hpp: a page in Prometheus' text format 0.0.4, metric by metric.
// Written by hand: the format is three kinds of line, and the counters have one owner: no library and no lock.
// Threads one owner
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quadrant::actors::http {

/// Counts of values up to each bound, and of all. Units of Prometheus: seconds.
class histogram {
public:
  explicit histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}
  void add(double value);

private:
  friend class prometheus_text;
  std::span<const double> bounds_;
  std::vector<std::uint64_t> counts_; ///< of (bound[i-1], bound[i]]; the last has no bound
  double sum_ = 0;
};

/// One label: name="value", the value with what the format wants escaped.
std::string label(std::string_view name, std::string_view value);

class prometheus_text {
public:
  /// labels: those that every sample has, joined by commas, or none
  explicit prometheus_text(std::string labels = {}) : labels_(std::move(labels)) {}

  /// Begins a metric; its samples follow. kind: counter, gauge, histogram
  void metric(std::string_view name, std::string_view kind, std::string_view help);
  /// labels: as label() makes them, joined by commas, or none
  void sample(double value, std::string_view labels = {});
  /// A metric with one sample, or with those of a histogram.
  void single(std::string_view name, std::string_view kind, std::string_view help, double value);
  void single(std::string_view name, std::string_view help, const histogram& of);

  void set_labels(std::string labels) { labels_ = std::move(labels); }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
  void line(std::string_view suffix, std::string_view labels, double value);

  std::string labels_, name_, text_;
};

} // namespace quadrant::actors::http
