// gpu/cpu/simd/sample.inl: greedy rows by vector; a sampled row is the reference's choose().
// Source  gpu/cpu/reference/sample.cpp

namespace quadrant::gpu::simd {
namespace {

/// The first of the largest logits, or -1 where one is NaN or Inf.
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
  if (!*finite) return -1;
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

void sample(team& t, const sample_args& a) {
  t.parallel(a.rows, grain_for(a.vocab, worth_a_thread), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      const float* logits = a.logits + row * a.vocab;
      a.digest[row] = reference::digest_of(logits, a.vocab);
      bool finite = true;
      const auto best = greedy(logits, a.vocab, &finite);
      const bool sampled = finite && a.params[row].temperature > 0;
      a.token[row] = sampled ? reference::choose(logits, a.vocab, a.params[row], a.positions[row]) : best;
      if (a.slot != nullptr && a.slot[row] >= 0) a.token_slots[a.slot[row]] = a.token[row];
    }
  });
}

} // namespace
} // namespace quadrant::gpu::simd
