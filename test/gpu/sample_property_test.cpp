#include <algorithm>
#include <cmath>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gpu/math.hpp"
#include "test/gpu/op_data.hpp"

namespace quadrant::test {
namespace {

using gpu::sampling;

struct sampled {
  std::int32_t token, slot;
  std::uint64_t digest;
};

sampled sample_one(const gpu::ops_table& ops, const std::vector<float>& logits, const sampling& params,
                   std::int32_t position = 5) {
  sampled s{-9, -9, 0};
  const std::int32_t slot = 0;
  ops.sample(team_of(1), {.logits = logits.data(),
                          .rows = 1,
                          .vocab = std::int32_t(logits.size()),
                          .params = &params,
                          .positions = &position,
                          .slot = &slot,
                          .token_slots = &s.slot,
                          .token = &s.token,
                          .digest = &s.digest});
  return s;
}

float gumbel(const sampling& s, std::int32_t position, std::int32_t id) {
  const auto word = gpu::philox({std::uint32_t(position), std::uint32_t(id), s.sample_index, 0},
                                {std::uint32_t(s.seed), std::uint32_t(s.seed >> 32)})
                        .word[0];
  return -gpu::log_f32(-gpu::log_f32(float(word >> 9) * 0x1p-23f + 0x1p-24f));
}

/// Rule 13 by a full sort and nothing clever, then rule 12 over everything that is left.
std::int32_t by_force(const std::vector<float>& logits, const sampling& s, std::int32_t position) {
  std::vector<std::pair<float, std::int32_t>> c;
  for (std::size_t i = 0; i < logits.size(); ++i) c.emplace_back(logits[i] / s.temperature, std::int32_t(i));
  std::ranges::stable_sort(c, [](const auto& a, const auto& b) { return a.first > b.first; });
  if (s.top_k > 0 && std::size_t(s.top_k) < c.size()) c.resize(std::size_t(s.top_k));
  const float top = c.front().first;
  const auto mass = [&](const auto& x) { return std::uint64_t(gpu::exp_f32(x.first - top) * 0x1p40f); };
  if (s.top_p < 1) {
    std::uint64_t total = 0, sum = 0;
    for (const auto& x : c) total += mass(x);
    std::size_t kept = 0;
    while (kept < c.size() && (kept == 0 || sum < std::uint64_t(double(total) * double(s.top_p))))
      sum += mass(c[kept++]);
    c.resize(kept);
  }
  std::erase_if(c, [&](const auto& x) { return s.min_p > 0 && gpu::exp_f32(x.first - top) < s.min_p; });
  std::pair<float, std::int32_t> best{-inf_f32, INT32_MAX};
  for (const auto& [logit, id] : c)
    if (const float drawn = logit + gumbel(s, position, id);
        drawn > best.first || (drawn == best.first && id < best.second))
      best = {drawn, id};
  return best.second;
}

template <class Fn>
void on_every_back_end(Fn fn) {
  for (const auto isa : gpu::available_isas()) fn(*gpu::ops_for(isa).value());
}

std::vector<float> random_logits(op_data& d) {
  std::vector<float> logits(static_cast<std::size_t>(d.coin() ? d.between(1, 40) : d.between(1, 500)));
  const bool coarse = d.coin(); // with ties
  for (auto& x : logits) x = coarse ? float(d.below(6)) : float(d.between(-8000, 8000)) * 1e-3f;
  return logits;
}

/// A row's rules, with what they point to.
struct random_rules {
  std::vector<std::int32_t> prompt, made, banned;
  std::vector<gpu::logit_bias> bias;
  std::vector<std::uint64_t> mask;
  gpu::logit_rules view;

  random_rules(op_data& d, std::int32_t vocab) {
    const auto ids = [&](std::int32_t most) {
      std::vector<std::int32_t> list;
      for (auto n = d.below(most); n-- > 0;) list.push_back(d.below(vocab));
      return list;
    };
    prompt = ids(8), made = ids(30), banned = ids(4);
    for (const auto id : ids(5)) bias.push_back({id, float(d.between(-100, 100)) * 0.1f});
    if (d.coin()) {
      mask.assign(std::size_t(vocab + 63) / 64, 0);
      for (std::int32_t id = 0; id < vocab; ++id)
        if (d.coin()) mask[std::size_t(id / 64)] |= std::uint64_t{1} << id % 64;
      const auto one = d.below(vocab);
      mask[std::size_t(one / 64)] |= std::uint64_t{1} << one % 64;
    }
    view = {.prompt = prompt,
            .made = made,
            .bias = bias,
            .mask = mask.empty() ? nullptr : mask.data(),
            .banned = banned,
            .top_logprobs = d.one_of({-1, 0, 3, 20})};
  }
};

/// What the rules make of a row, id by id.
std::vector<float> ruled(std::vector<float> row, const gpu::logit_rules& rules, const sampling& s) {
  for (std::int32_t id = 0; id < std::int32_t(row.size()); ++id) {
    auto& l = row[std::size_t(id)];
    const auto times = std::ranges::count(rules.made, id);
    if (times > 0 || std::ranges::count(rules.prompt, id) > 0)
      if (s.repetition != 1) l = l > 0 ? l / s.repetition : l * s.repetition;
    if (times > 0) l -= std::fma(s.frequency, float(times), s.presence);
    for (const auto& b : rules.bias)
      if (b.id == id) l += b.bias;
    if (rules.mask != nullptr && (rules.mask[id / 64] >> id % 64 & 1) == 0) l = -inf_f32;
  }
  auto without = row;
  for (const auto id : rules.banned) without[std::size_t(id)] = -inf_f32;
  return std::ranges::max(without) > -inf_f32 ? without : row;
}

} // namespace

TEST_CASE("sample") {
  property("greedy is the lowest id among the largest", [](std::uint64_t seed) {
    op_data d(seed);
    const auto logits = random_logits(d);
    const auto expected = std::int32_t(std::ranges::max_element(logits) - logits.begin());
    on_every_back_end([&](const gpu::ops_table& ops) {
      const auto s = sample_one(ops, logits, {});
      RC_ASSERT(s.token == expected);
      RC_ASSERT(s.slot == expected);
      RC_ASSERT(s.digest == XXH3_64bits(logits.data(), logits.size() * sizeof(float)));
    });
  });

  property("a temperature that leaves no numbers is greedy, filtered or not", [](std::uint64_t seed) {
    op_data d(seed);
    auto logits = random_logits(d);
    logits[std::size_t(d.below(std::int32_t(logits.size())))] = 30;
    const sampling params{.temperature = 1e-38f, .top_p = d.one_of({1.0f, 0.5f}), .top_k = d.one_of({0, 3})};
    const auto expected = std::int32_t(std::ranges::max_element(logits) - logits.begin());
    on_every_back_end([&](const gpu::ops_table& ops) { RC_ASSERT(sample_one(ops, logits, params).token == expected); });
  });

  property("a NaN or Inf anywhere gives -1, greedy or sampled", [](std::uint64_t seed) {
    op_data d(seed);
    auto logits = random_logits(d);
    logits[std::size_t(d.below(std::int32_t(logits.size())))] = d.one_of({nan_f32, inf_f32, -inf_f32});
    const sampling params{.temperature = d.coin() ? 0.0f : 1.0f};
    on_every_back_end([&](const gpu::ops_table& ops) {
      const auto s = sample_one(ops, logits, params);
      RC_ASSERT(s.token == -1);
      RC_ASSERT(s.slot == -1);
    });
  });

  property(
      "top-k, top-p and min-p leave what a full sort leaves, and the draw is Gumbel-max over it",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto logits = random_logits(d);
        const sampling params{.temperature = d.one_of({0.2f, 1.0f, 3.0f}),
                              .top_p = d.one_of({1.0f, 0.9f, 0.5f, 0.01f}),
                              .min_p = d.one_of({0.0f, 0.0f, 0.1f, 1.0f}),
                              .top_k = d.one_of({0, 0, 1, 5, 100}),
                              .seed = d.next(),
                              .sample_index = std::uint32_t(d.below(3))};
        const auto position = d.below(1000);
        on_every_back_end([&](const gpu::ops_table& ops) {
          RC_ASSERT(sample_one(ops, logits, params, position).token == by_force(logits, params, position));
        });
      },
      300);

  property(
      "rules change the row as their formulas say, and logprobs are of the row as it was",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto logits = random_logits(d);
        const auto vocab = std::int32_t(logits.size());
        const random_rules rules(d, vocab);
        const sampling params{.temperature = d.one_of({0.0f, 1.0f}),
                              .top_p = d.one_of({1.0f, 0.7f}),
                              .top_k = d.one_of({0, 0, 5}),
                              .seed = d.next(),
                              .presence = d.one_of({0.0f, 0.5f, -1.5f}),
                              .frequency = d.one_of({0.0f, 0.3f, -0.2f}),
                              .repetition = d.one_of({1.0f, 1.3f, 0.7f})};
        const auto row = ruled(logits, rules.view, params);
        const auto expected = params.temperature > 0 ? by_force(row, params, 5)
                                                     : std::int32_t(std::ranges::max_element(row) - row.begin());
        const bool none = std::ranges::max(row) == -inf_f32;
        on_every_back_end([&](const gpu::ops_table& ops) {
          std::int32_t token = -9;
          const std::int32_t position = 5;
          std::uint64_t digest = 0;
          std::vector<gpu::token_logprob> logprobs(1 + gpu::max_top_logprobs, {-7, 0});
          ops.sample(team_of(1), {.logits = logits.data(),
                                  .rows = 1,
                                  .vocab = vocab,
                                  .params = &params,
                                  .positions = &position,
                                  .slot = nullptr,
                                  .token_slots = nullptr,
                                  .token = &token,
                                  .digest = &digest,
                                  .rules = &rules.view,
                                  .logprobs = logprobs.data()});
          RC_ASSERT(token == (none ? -1 : expected));
          RC_ASSERT(digest == XXH3_64bits(logits.data(), logits.size() * sizeof(float)));
          if (none) return;
          std::vector<std::int32_t> ids(logits.size());
          for (std::int32_t id = 0; id < vocab; ++id) ids[std::size_t(id)] = id;
          std::ranges::stable_sort(ids,
                                   [&](auto a, auto b) { return logits[std::size_t(a)] > logits[std::size_t(b)]; });
          double sum = 0;
          for (const float l : logits) sum += std::exp(double(l) - double(logits[std::size_t(ids[0])]));
          const auto right = [&](const gpu::token_logprob& p, std::int32_t id) {
            const auto wanted = double(logits[std::size_t(id)]) - double(logits[std::size_t(ids[0])]) - std::log(sum);
            return p.id == id && std::fabs(double(p.logprob) - wanted) < 1e-5;
          };
          const auto count = std::min(rules.view.top_logprobs, vocab);
          RC_ASSERT((count < 0 ? logprobs[0].id == -7 : right(logprobs[0], token)));
          for (std::int32_t i = 0; i < count; ++i) RC_ASSERT(right(logprobs[std::size_t(1 + i)], ids[std::size_t(i)]));
        });
      },
      300);

  property(
      "several rows may be of the same logits",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto logits = random_logits(d);
        std::vector<sampling> params;
        for (std::int32_t r = 0; r < 5; ++r)
          params.push_back({.temperature = 1, .seed = 3, .sample_index = std::uint32_t(r)});
        const std::vector<std::int32_t> positions(5, 9), row(5, 0);
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome out{.i = std::vector<std::int32_t>(5, 77), .u = std::vector<std::uint64_t>(5, 0)};
          ops.sample(team, {.logits = logits.data(),
                            .rows = 5,
                            .vocab = std::int32_t(logits.size()),
                            .params = params.data(),
                            .positions = positions.data(),
                            .slot = nullptr,
                            .token_slots = nullptr,
                            .token = out.i.data(),
                            .digest = out.u.data(),
                            .logits_row = row.data()});
          for (std::size_t r = 0; r < 5; ++r)
            RC_ASSERT(out.i[r] == sample_one(ops, logits, params[r], positions[r]).token);
          return out;
        });
      },
      50);

  property(
      "rows do not see each other, and a negative slot is none",
      [](std::uint64_t seed) {
        op_data d(seed);
        const std::int32_t rows = d.between(0, 5), vocab = d.between(1, 100);
        std::vector<float> logits = d.reals(std::int64_t(rows) * vocab + 1);
        std::vector<sampling> params;
        std::vector<std::int32_t> positions, slot;
        for (std::int32_t r = 0; r < rows; ++r) {
          params.push_back({.temperature = d.coin() ? 0.0f : 1.0f, .seed = d.next()});
          positions.push_back(d.below(100));
          slot.push_back(d.coin() ? r : -1);
        }
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome out{.i = std::vector<std::int32_t>(10, 77), .u = std::vector<std::uint64_t>(5, 0)};
          ops.sample(team, {.logits = logits.data(),
                            .rows = rows,
                            .vocab = vocab,
                            .params = params.data(),
                            .positions = positions.data(),
                            .slot = slot.data(),
                            .token_slots = out.i.data() + 5,
                            .token = out.i.data(),
                            .digest = out.u.data()});
          for (std::int32_t r = 0; r < rows; ++r) {
            const std::vector<float> row(logits.begin() + std::ptrdiff_t(r) * vocab,
                                         logits.begin() + std::ptrdiff_t(r + 1) * vocab);
            RC_ASSERT(out.i[std::size_t(r)] ==
                      sample_one(ops, row, params[std::size_t(r)], positions[std::size_t(r)]).token);
            RC_ASSERT(out.i[std::size_t(5 + r)] == (slot[std::size_t(r)] < 0 ? 77 : out.i[std::size_t(r)]));
          }
          return out;
        });
      },
      50);
}

TEST_CASE("draws follow softmax(logits / temperature)") {
  const std::vector<float> logits{0.0f, 1.0f, 2.0f, -1.0f};
  const double temperature = 0.7;
  int count[4] = {};
  constexpr int draws = 20'000;
  for (int n = 0; n < draws; ++n)
    ++count[sample_one(reference_ops(), logits, {.temperature = float(temperature), .seed = 42}, n).token];
  double sum = 0, chi2 = 0;
  for (const float x : logits) sum += std::exp(double(x) / temperature);
  for (std::size_t i = 0; i < 4; ++i) {
    const double expected = draws * std::exp(double(logits[i]) / temperature) / sum;
    chi2 += std::pow(count[i] - expected, 2) / expected;
  }
  CHECK(chi2 < 16.3); // 0.1 % at three degrees of freedom
}

} // namespace quadrant::test
