// Sampling by rules 12 and 13: filters in a fixed order, masses in fixed point, Gumbel-max with counted randomness.
#include <algorithm>
#include <functional>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {
namespace {

/// Probability as a 40-bit fixed-point mass: sums of them have no order.
std::uint64_t mass_of(float logit, float top) { return std::uint64_t(exp_f32(logit - top) * 0x1p40f); }

/// How many of the best make up `wanted`, at least one; they come first in `c`. Halves what is in doubt until it is
/// small, so nothing is sorted but that.
std::size_t best_of_mass(candidate* c, std::size_t n, std::uint64_t wanted) {
  std::size_t first = 0, end = n;
  std::uint64_t before = 0; ///< mass of [0, first)
  while (end - first > 32) {
    const auto middle = first + (end - first) / 2;
    std::nth_element(c + first, c + middle, c + end, better);
    std::uint64_t half = 0;
    for (auto i = first; i < middle; ++i) half += c[i].mass;
    if (before + half >= wanted) {
      end = middle;
    } else {
      before += half;
      first = middle;
    }
  }
  std::sort(c + first, c + end, better);
  auto kept = first;
  while (kept < end && (kept == 0 || before < wanted)) before += c[kept++].mass;
  return kept;
}

/// The token of one row of finite logits.
std::int32_t choose(const float* logits, std::int32_t vocab, const sampling& s, std::int32_t position) {
  std::int32_t greedy = 0;
  for (std::int32_t i = 1; i < vocab; ++i)
    if (logits[i] > logits[greedy]) greedy = i;
  // At 0, and so near it that a division leaves the numbers there are, the largest wins.
  if (!(s.temperature > 0) || !(std::fabs(logits[greedy] / s.temperature) <= std::numeric_limits<float>::max()))
    return greedy;
  std::vector<candidate> c(static_cast<std::size_t>(vocab));
  for (std::int32_t i = 0; i < vocab; ++i) c[std::size_t(i)] = {logits[i] / s.temperature, i, 0};
  const float top = std::min_element(c.begin(), c.end(), better)->logit;
  for (auto& x : c) x.mass = mass_of(x.logit, top);
  c.resize(filter(c.data(), c.size(), s));
  candidate best{-std::numeric_limits<float>::infinity(), -1, 0};
  for (const auto& x : c) {
    if (best.id >= 0 && x.logit + most_gumbel < best.logit) continue; // cannot win, whatever it draws
    if (const candidate drawn{x.logit + gumbel(s, position, x.id), x.id, 0}; best.id < 0 || better(drawn, best))
      best = drawn;
  }
  return best.id;
}

} // namespace

/// -log(-log(u)), u in (0, 1) from the counted generator; u is at most 1 - 2^-24.
float gumbel(const sampling& s, std::int32_t position, std::int32_t id) {
  const std::uint32_t counter[4] = {std::uint32_t(position), std::uint32_t(id), s.sample_index, 0};
  const std::uint32_t key[2] = {std::uint32_t(s.seed), std::uint32_t(s.seed >> 32)};
  const float u = float(philox(counter, key).word[0] >> 9) * 0x1p-23f + 0x1p-24f;
  return -log_f32(-log_f32(u));
}

std::size_t filter(candidate* c, std::size_t n, const sampling& s) {
  if (s.top_k > 0 && std::size_t(s.top_k) < n) {
    std::nth_element(c, c + s.top_k - 1, c + n, better);
    n = std::size_t(s.top_k);
  }
  const float top = std::min_element(c, c + n, better)->logit;
  if (s.top_p < 1) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < n; ++i) total += c[i].mass;
    n = best_of_mass(c, n, std::uint64_t(double(total) * double(s.top_p)));
  }
  if (s.min_p <= 0) return n;
  return std::size_t(std::remove_if(c, c + n, [&](const candidate& x) { return exp_f32(x.logit - top) < s.min_p; }) -
                     c);
}

float kth_largest(float* list, std::size_t n, std::size_t k) {
  std::nth_element(list, list + k - 1, list + n, std::greater{});
  return list[k - 1];
}

std::uint64_t digest_of(const float* logits, std::int32_t vocab) {
  return XXH3_64bits(logits, std::size_t(vocab) * sizeof(float));
}

void sample(team& t, const sample_args& a) {
  t.parallel(a.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      const float* logits = a.logits + row * a.vocab;
      a.digest[row] = digest_of(logits, a.vocab);
      bool finite = true;
      for (std::int32_t i = 0; i < a.vocab; ++i)
        finite = finite && std::fabs(logits[i]) <= std::numeric_limits<float>::max();
      a.token[row] = finite ? choose(logits, a.vocab, a.params[row], a.positions[row]) : -1;
      if (a.slot != nullptr && a.slot[row] >= 0) a.token_slots[a.slot[row]] = a.token[row];
    }
  });
}

} // namespace quadrant::gpu::reference
