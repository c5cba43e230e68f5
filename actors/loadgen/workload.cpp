#include "actors/loadgen/workload.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

namespace quadrant::actors::loadgen {

result<length_range> parse_length(std::string_view text) {
  length_range range;
  const auto read = [](std::string_view part, std::int32_t& to) {
    const auto [end, problem] = std::from_chars(part.data(), part.data() + part.size(), to);
    return problem == std::errc{} && end == part.data() + part.size() && to >= 1 && to <= 100'000'000;
  };
  const auto colon = text.find(':');
  const bool good = read(text.substr(0, colon), range.low) &&
                    (colon == text.npos ? (range.high = range.low, true) : read(text.substr(colon + 1), range.high));
  if (!good || range.low > range.high)
    return {errc::invalid_argument,
            "expected a number of tokens, like 128, or two of them, like 64:256, not '" + std::string(text) + "'"};
  return range;
}

workload draw(const std::vector<std::int64_t>& times, length_range input, length_range output, std::uint64_t seed) {
  std::mt19937_64 dice(seed);
  std::uniform_int_distribution<std::int32_t> inputs(input.low, input.high), outputs(output.low, output.high);
  workload made;
  for (const auto at : times) {
    const auto in = inputs(dice), out = outputs(dice);
    made.requests.push_back({.at_ns = at, .input_tokens = in, .output_tokens = out, .blocks = {}});
  }
  return made;
}

void scale_lengths(workload& of, double factor) {
  const auto scaled = [factor](std::int32_t tokens) {
    return std::int32_t(std::clamp(std::round(tokens * factor), 1.0, 2e9));
  };
  of.block_tokens = scaled(of.block_tokens);
  for (auto& r : of.requests) {
    r.input_tokens = scaled(r.input_tokens);
    r.output_tokens = scaled(r.output_tokens);
  }
}

void speed_up(workload& of, double factor) {
  for (auto& r : of.requests) r.at_ns = std::int64_t(double(r.at_ns) / factor);
}

std::size_t clip(workload& of, const length_limits& to) {
  std::size_t clipped = 0;
  for (auto& r : of.requests) {
    const auto before = std::pair(r.input_tokens, r.output_tokens);
    if (to.input > 0) r.input_tokens = std::min(r.input_tokens, to.input);
    if (to.output > 0) r.output_tokens = std::min(r.output_tokens, to.output);
    if (to.together > 0) {
      r.output_tokens = std::min(r.output_tokens, std::max(1, to.together / 2));
      r.input_tokens = std::min(r.input_tokens, std::max(1, to.together - r.output_tokens));
    }
    clipped += before != std::pair(r.input_tokens, r.output_tokens);
  }
  return clipped;
}

} // namespace quadrant::actors::loadgen
