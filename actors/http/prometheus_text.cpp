#include "actors/http/prometheus_text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace quadrant::actors::http {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  return {digits, end.ptr};
}

} // namespace

void histogram::add(double value) {
  const auto place = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  ++counts_[std::size_t(place)];
  sum_ += value;
}

std::string label(std::string_view name, std::string_view value) {
  auto to = std::string(name) + "=\"";
  for (const char c : value) {
    if (c == '\n')
      to += "\\n";
    else if (c == '"' || c == '\\')
      to.append({'\\', c});
    else
      to += c;
  }
  return to += '"';
}

void prometheus_text::metric(std::string_view name, std::string_view kind, std::string_view help) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help);
  text_.append("\n# TYPE ").append(name).append(" ").append(kind).append("\n");
}

void prometheus_text::line(std::string_view suffix, std::string_view labels, double value) {
  text_.append(name_).append(suffix);
  if (!labels.empty() || !labels_.empty())
    text_.append("{").append(labels_).append(labels.empty() || labels_.empty() ? "" : ",").append(labels).append("}");
  text_.append(" ").append(number(value)).append("\n");
}

void prometheus_text::sample(double value, std::string_view labels) { line({}, labels, value); }

void prometheus_text::single(std::string_view name, std::string_view kind, std::string_view help, double value) {
  metric(name, kind, help);
  sample(value);
}

void prometheus_text::single(std::string_view name, std::string_view help, const histogram& of) {
  metric(name, "histogram", help);
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i < of.counts_.size(); ++i) {
    so_far += of.counts_[i];
    line("_bucket", label("le", i < of.bounds_.size() ? number(of.bounds_[i]) : "+Inf"), double(so_far));
  }
  line("_sum", {}, of.sum_);
  line("_count", {}, double(so_far));
}

} // namespace quadrant::actors::http
