// gpu/cpu/simd/sample.inl: greedy rows, and sampled ones in two passes over the logits.
//
//   narrow   drop what no filter can keep: below the k-th largest of the maxima of 64 logits each, or without mass. What
//            is left, few in most rows, is filtered as the reference does
//   draw     16 counters of Philox at once; a bound on each one's noise, from the bits of 1 - u, says whether it can win.
//            Only those few draw by two logarithms
// Source  gpu/cpu/reference/sample.cpp

namespace quadrant::gpu::simd {
namespace {

/// The first of the largest logits. Is none of them NaN or Inf?
std::int32_t greedy(const float* logits, std::int32_t vocab, bool* finite) {
  auto top = all(-inf_f32), unsound = all(0.0f);
  auto at = all(std::int32_t{0}), best = at; // of the word, in its lane
  by_16(vocab, [&](std::int64_t i, int some) {
    auto v = load(logits + i, some);
    unsound = add(unsound, sub(v, v));
    if (some < 16) v = pick(first(some), v, all(-inf_f32));
    const auto more = less(top, v);
    top = pick(more, v, top);
    best = pick(more, at, best);
    at = add(at, all(std::int32_t{16}));
  });
  *finite = !any(is_nan(unsound));
  alignas(64) std::int32_t word[16];
  alignas(64) float value[16];
  store(word, best);
  store(value, top);
  std::int32_t id = -1;
  float most = -inf_f32;
  for (std::int32_t lane = 0; lane < 16; ++lane)
    if (value[lane] > most || (value[lane] == most && word[lane] + lane < id))
      most = value[lane], id = word[lane] + lane;
  return id;
}

/// Word 0 of Philox of 16 tokens.
QUADRANT_WORD i32x16 philox_words(i32x16 ids, const sampling& s, std::int32_t position) {
  i32x16 c[4] = {all(position), ids, all(std::int32_t(s.sample_index)), all(std::int32_t{0})};
  auto k0 = std::uint32_t(s.seed), k1 = std::uint32_t(s.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    i32x16 high0, low0, high1, low1;
    multiply_wide(c[0], 0xD2511F53u, high0, low0);
    multiply_wide(c[2], 0xCD9E8D57u, high1, low1);
    c[0] = exclusive(exclusive(high1, c[1]), all(std::int32_t(k0)));
    c[2] = exclusive(exclusive(high0, c[3]), all(std::int32_t(k1)));
    c[1] = low1;
    c[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c[0];
}

/// At least gumbel() of each token, by at most 0.7: -log(-log(u)) <= -log(d), d = 1 - u, and log2(d) is at least what
/// the bits of d say when they are read as a number.
QUADRANT_WORD f32x16 gumbel_bound(i32x16 words) {
  const auto u = add(mul(to_f32(right<9>(words)), all(0x1p-23f)), all(0x1p-24f)), d = sub(all(1.0f), u);
  return mul(sub(all(127.0f), mul(to_f32(as_i32(d)), all(0x1p-23f))), all(0.6931473f));
}

/// Gumbel-max over n tokens; ids null: 0, 1, ...
std::int32_t draw(const float* logits, const std::int32_t* ids, std::int32_t n, const sampling& s,
                  std::int32_t position) {
  alignas(64) static constexpr std::int32_t counting[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  float best = -inf_f32;
  std::int32_t best_id = -1;
  by_16(n, [&](std::int64_t i, int some) {
    const auto valid = first(some);
    const auto x = pick(valid, load(logits + i, some), all(-inf_f32));
    const auto hopeless = [&](f32x16 noise) { return less(add(x, noise), all(best)); };
    if (bits_of(without(valid, hopeless(all(reference::most_gumbel)))) == 0) return;
    alignas(64) std::int32_t id[16] = {};
    if (ids == nullptr)
      store(id, add(load(counting), all(std::int32_t(i))));
    else
      __builtin_memcpy(id, ids + i, std::size_t(some) * sizeof(std::int32_t));
    const auto bound = add(gumbel_bound(philox_words(load(id), s, position)), all(1e-3f)); // its own rounding
    for (auto left = bits_of(without(valid, hopeless(bound))); left != 0; left &= left - 1) {
      const auto lane = __builtin_ctz(left);
      const float drawn = logits[i + lane] + reference::gumbel(s, position, id[lane]);
      if (best_id < 0 || drawn > best || (drawn == best && id[lane] < best_id)) best = drawn, best_id = id[lane];
    }
  });
  return best_id;
}

/// No logit below it is among the k best: k runs of 64 logits have one as large.
float bound_of_top_k(const float* x, std::int32_t vocab, std::int32_t k) {
  constexpr std::int32_t run = 64;
  const auto runs = (vocab + run - 1) / run;
  if (k >= runs) return -inf_f32;
  auto* most = scratch<float>(slot::outputs, runs);
  for (std::int32_t r = 0; r < runs; ++r) {
    auto top = all(-inf_f32);
    by_16(std::min(run, vocab - r * run), [&](std::int64_t i, int some) {
      top = higher(pick(first(some), load(x + r * run + i, some), all(-inf_f32)), top);
    });
    most[r] = fold_max(top);
  }
  return reference::kth_largest(most, std::size_t(runs), std::size_t(k));
}

/// The token of one row of finite logits at a temperature above 0; `best` is the first of the largest.
std::int32_t choose(const float* logits, std::int32_t vocab, const sampling& s, std::int32_t position,
                    std::int32_t best) {
  auto* x = scratch<float>(slot::row, vocab + 16);
  auto lanes = all(-inf_f32);
  by_16(vocab, [&](std::int64_t i, int some) {
    const auto v = div(load(logits + i, some), all(s.temperature));
    store(x + i, v, some);
    lanes = higher(pick(first(some), v, all(-inf_f32)), lanes);
  });
  const float top = fold_max(lanes);
  if (!(top - top == 0)) return best; // so near 0 that the division leaves the numbers there are
  if (s.top_k == 0 && s.top_p >= 1 && s.min_p <= 0) return draw(x, nullptr, vocab, s, position);
  float bound = s.top_k > 0 ? bound_of_top_k(x, vocab, s.top_k) : -inf_f32;
  if (s.top_k == 0) bound = s.top_p < 1 ? top - 28.0f : top - 88.0f; // 2^-40 and the end of exp lie above
  auto* c = scratch<reference::candidate>(slot::candidates, vocab);
  std::size_t n = 0;
  by_16(vocab, [&](std::int64_t i, int some) {
    const auto v = load(x + i, some);
    auto left = bits_of(without(first(some), less(v, all(bound))));
    if (left == 0) return;
    alignas(64) float mass[16];
    store(mass, mul(exp_f32(sub(v, all(top))), all(0x1p40f)));
    for (; left != 0; left &= left - 1) {
      const auto lane = __builtin_ctz(left);
      c[n++] = {x[i + lane], std::int32_t(i) + lane, std::uint64_t(mass[lane])};
    }
  });
  n = reference::filter(c, n, s);
  auto* kept = scratch<float>(slot::outputs, std::int64_t(n));
  auto* ids = scratch<std::int32_t>(slot::blocks, std::int64_t(n));
  for (std::size_t i = 0; i < n; ++i) kept[i] = c[i].logit, ids[i] = c[i].id;
  return draw(kept, ids, std::int32_t(n), s, position);
}

/// Logprobs of the chosen token and of the `count` likeliest; `first` is the first of the largest.
void tell_logprobs(const float* logits, std::int32_t vocab, std::int32_t chosen, std::int32_t first_best,
                   std::int32_t count, token_logprob* to) {
  const float top = logits[first_best];
  auto lanes = all(0.0f);
  reference::likeliest others(count);
  by_16(vocab, [&](std::int64_t i, int some) {
    const auto valid = first(some);
    const auto v = load(logits + i, some);
    lanes = add(lanes, pick(valid, exp_f32(sub(v, all(top))), all(0.0f)));
    for (auto left = bits_of(without(valid, less(v, all(others.bound())))); left != 0; left &= left - 1) {
      const auto lane = __builtin_ctz(left);
      others.offer(std::int32_t(i) + lane, logits[i + lane]);
    }
  });
  reference::write_logprobs({chosen, logits[chosen]}, others, top, fold_sum(lanes), to);
}

void sample(team& t, const sample_args& a) {
  t.parallel(a.rows, grain_for(a.vocab, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      const float* logits = a.logits + (a.logits_row == nullptr ? row : a.logits_row[row]) * a.vocab;
      a.digest[row] = reference::digest_of(logits, a.vocab);
      bool finite = true;
      auto best = greedy(logits, a.vocab, &finite);
      if (finite) {
        const auto likeliest = best;
        const auto* rules = a.rules == nullptr ? nullptr : a.rules + row;
        const float* from = logits;
        if (rules != nullptr && reference::changes(a.params[row], *rules)) {
          auto* changed = scratch<float>(slot::logits, a.vocab);
          reference::apply(*rules, a.params[row], logits, a.vocab, changed);
          bool ignored = true; // what may not come is -inf
          best = greedy(changed, a.vocab, &ignored);
          from = changed;
        }
        if (best >= 0 && a.params[row].temperature > 0) best = choose(from, a.vocab, a.params[row], a.positions[row], best);
        if (best >= 0 && rules != nullptr && rules->top_logprobs >= 0)
          tell_logprobs(logits, a.vocab, best, likeliest, rules->top_logprobs,
                        a.logprobs + row * (1 + max_top_logprobs));
      }
      a.token[row] = finite ? best : -1;
      if (a.slot != nullptr && a.slot[row] >= 0) a.token_slots[a.slot[row]] = a.token[row];
    }
  });
}

} // namespace
} // namespace quadrant::gpu::simd
