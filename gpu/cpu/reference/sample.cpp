// Sampling by rules 12 and 13: filters in a fixed order, masses in fixed point, Gumbel-max with counted randomness.
#include <algorithm>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {
namespace {

struct candidate {
  float logit;
  std::int32_t id;
};
bool better(const candidate& a, const candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/// Above every value of gumbel(): u is at most 1 - 2^-24.
constexpr float most_gumbel = 16.7f;

/// -log(-log(u)), u in (0, 1) from the counted generator.
float gumbel(const sampling& s, std::int32_t position, std::int32_t id) {
  const std::uint32_t counter[4] = {std::uint32_t(position), std::uint32_t(id), s.sample_index, 0};
  const std::uint32_t key[2] = {std::uint32_t(s.seed), std::uint32_t(s.seed >> 32)};
  const float u = float(philox(counter, key).word[0] >> 9) * 0x1p-23f + 0x1p-24f;
  return -log_f32(-log_f32(u));
}

/// Probability as a 40-bit fixed-point mass: sums of them have no order.
std::uint64_t mass(float logit, float top) { return std::uint64_t(exp_f32(logit - top) * 0x1p40f); }

/// The candidates that top-k, top-p and min-p leave, best first. No full sort: the best are drawn in growing batches.
void filter(std::vector<candidate>& c, const sampling& s) {
  if (s.top_k > 0 && std::size_t(s.top_k) < c.size()) {
    std::nth_element(c.begin(), c.begin() + s.top_k - 1, c.end(), better);
    c.resize(std::size_t(s.top_k));
  }
  const float top = std::min_element(c.begin(), c.end(), better)->logit;
  if (s.top_p < 1) {
    std::uint64_t total = 0;
    for (const auto& x : c) total += mass(x.logit, top);
    const auto wanted = std::uint64_t(double(total) * double(s.top_p));
    std::uint64_t sum = 0;
    std::size_t kept = 0, sorted = 0;
    while (kept < c.size() && (kept == 0 || sum < wanted)) {
      if (kept == sorted) {
        const auto next = std::min(c.size(), std::max<std::size_t>(64, sorted * 2));
        std::partial_sort(c.begin() + std::ptrdiff_t(sorted), c.begin() + std::ptrdiff_t(next), c.end(), better);
        sorted = next;
      }
      sum += mass(c[kept++].logit, top);
    }
    c.resize(kept);
  }
  if (s.min_p > 0) std::erase_if(c, [&](const candidate& x) { return exp_f32(x.logit - top) < s.min_p; });
}

} // namespace

std::uint64_t digest_of(const float* logits, std::int32_t vocab) {
  return XXH3_64bits(logits, std::size_t(vocab) * sizeof(float));
}

std::int32_t choose(const float* logits, std::int32_t vocab, const sampling& s, std::int32_t position) {
  if (s.temperature <= 0) {
    std::int32_t best = 0;
    for (std::int32_t i = 1; i < vocab; ++i)
      if (logits[i] > logits[best]) best = i;
    return best;
  }
  std::vector<candidate> c(static_cast<std::size_t>(vocab));
  for (std::int32_t i = 0; i < vocab; ++i) c[std::size_t(i)] = {logits[i] / s.temperature, i};
  filter(c, s);
  candidate best{-std::numeric_limits<float>::infinity(), -1};
  for (const auto& x : c) {
    if (best.id >= 0 && x.logit + most_gumbel < best.logit) continue; // cannot win, whatever it draws
    if (const candidate drawn{x.logit + gumbel(s, position, x.id), x.id}; best.id < 0 || better(drawn, best))
      best = drawn;
  }
  return best.id;
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
