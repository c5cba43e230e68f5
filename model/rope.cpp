#include "model/rope.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "gpu/math.hpp"

namespace quadrant::model {
namespace {

constexpr double two_pi = 6.283185307179586;

/// YaRN's mscale
double gain_of(double factor, double m) { return factor <= 1 ? 1 : 0.1 * m * gpu::log_f64(factor) + 1; }

/// f'_i of each pair.
std::vector<double> frequencies(const rope_rule& r, std::int32_t width) {
  const auto half = width / 2;
  const double log_theta = gpu::log_f64(r.theta);
  // The pair that turns n times in the context.
  const auto pair_of = [&](double n) {
    return double(width) * gpu::log_f64(double(r.context) / (two_pi * n)) / (2 * log_theta);
  };
  double first = 0, last = 0;
  if (r.how == rope_rule::kind::yarn) {
    first = std::max(std::floor(pair_of(r.beta_fast)), 0.0);
    last = std::min(std::ceil(pair_of(r.beta_slow)), double(width - 1));
    if (first == last) last += 0.001;
  }
  std::vector<double> list;
  for (std::int32_t i = 0; i < half; ++i) {
    const double f = gpu::exp_f64(-log_theta * double(i) / double(half));
    switch (r.how) {
    case rope_rule::kind::plain: list.push_back(f); break;
    case rope_rule::kind::linear: list.push_back(f / r.factor); break;
    case rope_rule::kind::llama3: {
      const double turns = double(r.context) * f / two_pi;
      const double m = std::clamp((turns - r.low_turns) / (r.high_turns - r.low_turns), 0.0, 1.0);
      list.push_back(f * (m + (1 - m) / r.factor));
      break;
    }
    case rope_rule::kind::yarn: {
      const double part = std::clamp((double(i) - first) / (last - first), 0.0, 1.0);
      list.push_back(f * (1 - part + part / r.factor));
    }
    }
  }
  return list;
}

void read_yarn(json_fields& rope, rope_rule& r, bool deepseek) {
  r.beta_fast = rope.real("beta_fast", 1e-3, 1e6, 32);
  r.beta_slow = rope.real("beta_slow", 1e-3, 1e6, 1);
  const double mscale = rope.real("mscale", 0, 100, 0), of_all = rope.real("mscale_all_dim", 0, 100, 0);
  r.gain = mscale != 0 && of_all != 0 ? gain_of(r.factor, mscale) / gain_of(r.factor, of_all) : gain_of(r.factor, 1);
  r.gain = rope.real("attention_factor", 1e-3, 1e3, r.gain);
  if (deepseek && of_all != 0) r.score_gain = gain_of(r.factor, of_all) * gain_of(r.factor, of_all);
}

} // namespace

rope_rule read_rope(json_fields& read, double default_theta, std::int32_t max_positions, bool deepseek) {
  constexpr double low = 1.001, high = 1e12;
  rope_rule r{.theta = read.real("rope_theta", low, high, default_theta), .context = max_positions};
  const auto* key = read.find("rope_scaling") != nullptr ? "rope_scaling" : "rope_parameters";
  if (read.find(key) == nullptr) return r;
  auto rope = read.object(key);
  r.theta = rope.real("rope_theta", low, high, r.theta);
  const auto* word = rope.find("rope_type") != nullptr ? "rope_type" : "type";
  const auto* named = rope.find(word);
  const std::string name = named == nullptr ? "default" : named->is_string() ? named->get<std::string>() : "";
  if (name != "default") {
    r.factor = rope.real("factor", 1, 1e6, 1);
    r.context = rope.integer("original_max_position_embeddings", 1, 1 << 20, max_positions);
  }
  if (name == "linear") {
    r.how = rope_rule::kind::linear;
  } else if (name == "llama3") {
    r.how = rope_rule::kind::llama3;
    r.low_turns = rope.real("low_freq_factor", 1e-3, 1e6, 1);
    r.high_turns = rope.real("high_freq_factor", 1e-3, 1e6, 4);
    rope.need(r.high_turns > r.low_turns, "high_freq_factor", "must be more than low_freq_factor");
  } else if (name == "yarn") {
    r.how = rope_rule::kind::yarn;
    read_yarn(rope, r, deepseek);
  } else if (name != "default") {
    rope.fail(word, "must be \"default\", \"linear\", \"llama3\" or \"yarn\", the rules known here", errc::unavailable);
  }
  read.take_problem_of(rope);
  return r;
}

rope_tables make_rope_tables(const rope_rule& rule, std::int32_t width, std::int32_t positions) {
  const auto half = width / 2;
  rope_tables made;
  made.cos.resize(std::size_t(positions) * half);
  made.sin.resize(std::size_t(positions) * half);
  const auto list = frequencies(rule, width);
  for (std::int32_t i = 0; i < half; ++i)
    for (std::int32_t p = 0; p < positions; ++p) {
      const double angle = double(p) * list[std::size_t(i)];
      made.cos[std::size_t(p) * half + i] = float(gpu::cos_f64(angle) * rule.gain);
      made.sin[std::size_t(p) * half + i] = float(gpu::sin_f64(angle) * rule.gain);
    }
  return made;
}

} // namespace quadrant::model
