#include <algorithm>
#include <numeric>

#include "gpu/math.hpp"
#include "test/gpu/op_data.hpp"

namespace quadrant::test {

using gpu::dtype;

TEST_CASE("route") {
  property(
      "every back-end gives the reference's choices, ties and NaN rows included",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto tokens = d.one_of({0, 1, 2, 5, 12, 13, 30}), hidden = d.one_of({16, 20, 64}),
                   groups = d.one_of({1, 1, 2, 4}), experts = groups * d.between(groups > 1 ? 2 : 1, 70 / groups);
        const gpu::router how{.sigmoid = d.coin(),
                              .renormalise = d.coin(),
                              .group_by_two = d.coin(),
                              .groups = groups,
                              .kept_groups = d.between(1, groups),
                              .epsilon = d.coin() ? 1e-20f : 0,
                              .scale = d.coin() ? 1 : 2.5f};
        const auto top_k = d.between(1, std::min(how.kept_groups * (experts / groups), 8));
        const auto bias = d.reals(experts);
        const bool biased = d.coin();
        auto w = d.rows(experts, hidden);
        for (std::int32_t e = 1; e < experts; ++e) // equal rows: equal scores
          if (d.below(3) == 0) std::copy_n(w.data(), hidden, w.data() + std::ptrdiff_t(e) * hidden);
        const auto gate = gpu::pack(d.coin() ? dtype::f32 : dtype::bf16, w, experts, hidden, 0);
        const auto x = d.rows(tokens, hidden, d.coin());
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          const auto n = std::size_t(tokens) * std::size_t(top_k);
          outcome out{.f = std::vector<float>(n + 1, untouched), .i = std::vector<std::int32_t>(n + 1, 99)};
          ops.route(team, {.x = x.data(),
                           .gate = &gate,
                           .tokens = tokens,
                           .num_experts = experts,
                           .top_k = top_k,
                           .how = how,
                           .bias = biased ? bias.data() : nullptr,
                           .expert = out.i.data(),
                           .weight = out.f.data()});
          return out;
        });
      },
      60);

  property(
      "equal scores go to the lower expert, and weights fall",
      [](std::uint64_t seed) {
        op_data d(seed);
        const std::int32_t hidden = 16, experts = d.between(2, 40), top_k = d.between(1, std::min(8, experts));
        std::vector<float> w(std::size_t(experts) * hidden, 0.0f), x(hidden, 0.0f);
        x[0] = 1;
        for (std::int32_t e = 0; e < experts; ++e) w[std::size_t(e) * hidden] = float(d.below(4)); // many ties
        const auto gate = gpu::pack(dtype::f32, w, experts, hidden, 0);
        std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
        std::iota(order.begin(), order.end(), 0);
        std::ranges::stable_sort(
            order, [&](auto a, auto b) { return w[std::size_t(a) * hidden] > w[std::size_t(b) * hidden]; });
        for (const auto isa : gpu::available_isas()) {
          std::vector<std::int32_t> expert(static_cast<std::size_t>(top_k));
          std::vector<float> weight(static_cast<std::size_t>(top_k));
          gpu::ops_for(isa).value()->route(team_of(1), {.x = x.data(),
                                                        .gate = &gate,
                                                        .tokens = 1,
                                                        .num_experts = experts,
                                                        .top_k = top_k,
                                                        .how = {.renormalise = true},
                                                        .bias = nullptr,
                                                        .expert = expert.data(),
                                                        .weight = weight.data()});
          RC_ASSERT(std::equal(expert.begin(), expert.end(), order.begin()));
          RC_ASSERT(std::ranges::is_sorted(weight, std::greater{}));
          RC_ASSERT(std::abs(std::accumulate(weight.begin(), weight.end(), 0.0f) - 1.0f) < 1e-6f);
        }
      },
      60);
}

TEST_CASE("moe_sort, gather_rows and combine") {
  property(
      "sorting loses no pair, and combine undoes it in top-k order",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto tokens = d.one_of({0, 1, 3, 20}), experts = d.between(1, 12),
                   top_k = d.between(1, std::min(4, experts)), hidden = d.between(1, 80);
        const auto pairs = std::size_t(tokens) * std::size_t(top_k);
        std::vector<std::int32_t> expert(pairs + 1);
        for (auto& e : expert) e = d.below(experts);
        const auto x = d.rows(tokens, hidden), weight = d.reals(std::int64_t(pairs) + 1);
        const bool bf16 = d.coin();
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          std::vector<std::int32_t> offsets(std::size_t(experts) + 1), token_of_row(pairs + 1, -7),
              row_of_pair(pairs + 1, -7);
          ops.moe_sort(team, {.expert = expert.data(),
                              .tokens = tokens,
                              .top_k = top_k,
                              .num_experts = experts,
                              .offsets = offsets.data(),
                              .token_of_row = token_of_row.data(),
                              .row_of_pair = row_of_pair.data()});
          RC_ASSERT(offsets.front() == 0);
          RC_ASSERT(offsets.back() == std::int32_t(pairs));
          std::vector<bool> seen(pairs, false);
          for (std::size_t pair = 0; pair < pairs; ++pair) {
            const auto row = row_of_pair[pair];
            RC_ASSERT(!seen[std::size_t(row)]);
            seen[std::size_t(row)] = true;
            RC_ASSERT(row >= offsets[std::size_t(expert[pair])]);
            RC_ASSERT(row < offsets[std::size_t(expert[pair]) + 1]);
            RC_ASSERT(token_of_row[std::size_t(row)] == std::int32_t(pair) / top_k);
          }
          std::vector<float> rows(pairs * std::size_t(hidden) + 1);
          ops.gather_rows(team, {.from = reinterpret_cast<const std::byte*>(x.data()),
                                 .row = token_of_row.data(),
                                 .rows = std::int32_t(pairs),
                                 .row_bytes = hidden * 4,
                                 .to = reinterpret_cast<std::byte*>(rows.data())});
          std::vector<std::uint16_t> words;
          for (const float v : rows) words.push_back(gpu::to_bf16(v));
          outcome out{.f = std::vector<float>(std::size_t(tokens) * std::size_t(hidden) + 1, untouched)};
          ops.combine(team, {.rows = bf16 ? static_cast<const void*>(words.data()) : rows.data(),
                             .row_type = bf16 ? dtype::bf16 : dtype::f32,
                             .row_of_pair = row_of_pair.data(),
                             .weight = weight.data(),
                             .tokens = tokens,
                             .top_k = top_k,
                             .hidden = hidden,
                             .x = out.f.data()});
          for (std::int32_t t = 0; t < tokens; ++t) // every expert was the identity: the answer is known
            for (std::int32_t h = 0; h < hidden; ++h) {
              const auto at = std::size_t(t) * std::size_t(hidden) + std::size_t(h);
              float sum = 0;
              for (std::int32_t j = 0; j < top_k; ++j)
                sum = std::fma(weight[std::size_t(t * top_k + j)], bf16 ? gpu::round_bf16(x[at]) : x[at], sum);
              RC_ASSERT(out.f[at] == untouched + sum);
            }
          return out;
        });
      },
      40);
}

} // namespace quadrant::test
