// Sampling by rules 12 and 13: filters in a fixed order, masses in fixed point, Gumbel-max with counted randomness.
#include <algorithm>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gpu/cpu/reference.hpp"
#include "gpu/cpu/reference/row_math.hpp"

namespace quadrant::gpu::reference {
namespace {

constexpr float forbidden = -std::numeric_limits<float>::infinity();

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
  if (logits[greedy] == forbidden) return -1;
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

void forbid(float* row, std::int32_t vocab, const std::uint64_t* mask) {
  for (std::int32_t first = 0; first < vocab; first += 64) {
    const auto word = mask[first / 64];
    if (word == ~std::uint64_t{0}) continue;
    for (std::int32_t i = first; i < std::min(first + 64, vocab); ++i)
      if ((word >> (i - first) & 1) == 0) row[i] = forbidden;
  }
}

/// How often each id occurs, in a table that is all zeros between uses.
class occurrences {
public:
  explicit occurrences(std::int32_t vocab) { counts().resize(std::max(counts().size(), std::size_t(vocab))); }
  /// Calls `each` with every id once, and how often it is in `made`.
  template <class Each>
  void over(std::span<const std::int32_t> made, std::span<const std::int32_t> beside, Each each) {
    auto& count = counts();
    for (const auto id : made) ++count[std::size_t(id)];
    visit(made, each);
    visit(beside, each);
    for (const auto id : made) count[std::size_t(id)] = 0;
    for (const auto id : beside) count[std::size_t(id)] = 0;
  }

private:
  static constexpr std::int32_t seen = -1;
  static std::vector<std::int32_t>& counts() {
    thread_local std::vector<std::int32_t> table;
    return table;
  }
  template <class Each>
  static void visit(std::span<const std::int32_t> ids, Each& each) {
    for (const auto id : ids)
      if (const auto n = std::exchange(counts()[std::size_t(id)], seen); n != seen) each(id, n);
  }
};

void tell_logprobs(const float* logits, std::int32_t vocab, std::int32_t chosen, std::int32_t count,
                   token_logprob* to) {
  const float top = *std::max_element(logits, logits + vocab);
  const float sum = sum_16_lanes(vocab, [&](float lane, std::int64_t i) { return lane + exp_f32(logits[i] - top); });
  likeliest others(count);
  for (std::int32_t id = 0; id < vocab; ++id) others.offer(id, logits[id]);
  write_logprobs({chosen, logits[chosen]}, others, top, sum, to);
}

} // namespace

bool changes(const sampling& s, const logit_rules& rules) {
  return !rules.bias.empty() || rules.mask != nullptr || !rules.banned.empty() ||
         (s.repetition != 1 && !(rules.prompt.empty() && rules.made.empty())) ||
         ((s.presence != 0 || s.frequency != 0) && !rules.made.empty());
}

void apply(const logit_rules& rules, const sampling& s, const float* logits, std::int32_t vocab, float* row) {
  std::copy(logits, logits + vocab, row);
  if (s.repetition != 1 || s.presence != 0 || s.frequency != 0)
    occurrences(vocab).over(rules.made, s.repetition != 1 ? rules.prompt : std::span<const std::int32_t>{},
                            [&](std::int32_t id, std::int32_t n) {
                              float& l = row[id];
                              if (s.repetition != 1) l = l > 0 ? l / s.repetition : l * s.repetition;
                              if (n > 0) l -= std::fma(s.frequency, float(n), s.presence);
                            });
  for (const auto& b : rules.bias) row[b.id] += b.bias;
  if (rules.mask != nullptr) forbid(row, vocab, rules.mask);
  if (rules.banned.empty()) return;
  std::vector<float> kept;
  kept.reserve(rules.banned.size());
  for (const auto id : rules.banned) kept.push_back(std::exchange(row[id], forbidden));
  if (std::any_of(row, row + vocab, [](float l) { return l > forbidden; })) return;
  for (auto i = kept.size(); i-- > 0;) row[rules.banned[i]] = kept[i]; // backwards: an id may be there twice
}

float likeliest::bound() const noexcept {
  if (count_ == 0) return std::numeric_limits<float>::infinity();
  return size_ < count_ ? forbidden : list_[size_ - 1].logprob;
}

void likeliest::offer(std::int32_t id, float logit) {
  if (!(logit > bound())) return;
  auto at = size_ == count_ ? size_ - 1 : size_++;
  for (; at > 0 && logit > list_[at - 1].logprob; --at) list_[at] = list_[at - 1];
  list_[at] = {id, logit};
}

void write_logprobs(token_logprob chosen, const likeliest& others, float top, float sum, token_logprob* to) {
  const float log_sum = log_f32(sum);
  *to++ = {chosen.id, chosen.logprob - top - log_sum};
  for (const auto& other : others.best_first()) *to++ = {other.id, other.logprob - top - log_sum};
}

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
      const float* logits = a.logits + (a.logits_row == nullptr ? row : a.logits_row[row]) * a.vocab;
      a.digest[row] = digest_of(logits, a.vocab);
      bool finite = true;
      for (std::int32_t i = 0; i < a.vocab; ++i)
        finite = finite && std::fabs(logits[i]) <= std::numeric_limits<float>::max();
      const auto* rules = a.rules == nullptr ? nullptr : a.rules + row;
      const float* from = logits;
      std::vector<float> changed;
      if (finite && rules != nullptr && changes(a.params[row], *rules)) {
        changed.resize(std::size_t(a.vocab));
        apply(*rules, a.params[row], logits, a.vocab, changed.data());
        from = changed.data();
      }
      a.token[row] = finite ? choose(from, a.vocab, a.params[row], a.positions[row]) : -1;
      if (a.token[row] >= 0 && rules != nullptr && rules->top_logprobs >= 0)
        tell_logprobs(logits, a.vocab, a.token[row], rules->top_logprobs, a.logprobs + row * (1 + max_top_logprobs));
      if (a.slot != nullptr && a.slot[row] >= 0) a.token_slots[a.slot[row]] = a.token[row];
    }
  });
}

} // namespace quadrant::gpu::reference
