#include <algorithm>

#include "gpu/math.hpp"
#include "test/gpu/op_data.hpp"

namespace quadrant::test {
namespace {

using gpu::dtype;

/// Room for the act form of rows, and its view.
struct act_out {
  outcome all;
  std::int32_t group = 0;
  bool floats, ints;

  act_out(std::int32_t rows, std::int32_t cols, std::int32_t scale_group, bool with_f, bool with_q)
      : group(scale_group), floats(with_f), ints(with_q) {
    const auto n = std::size_t(rows) * std::size_t(cols),
               scales = std::size_t(rows) * std::size_t(group == 0 ? 1 : cols / group);
    all.f.assign(n + scales + 2, untouched);
    all.q.assign(n + 1, 99);
    scale_ = all.f.data() + n + 1;
  }
  gpu::act_view view() {
    return {.f = floats ? all.f.data() : nullptr,
            .q = ints ? all.q.data() : nullptr,
            .scale = scale_,
            .scale_group = group};
  }

private:
  float* scale_;
};

std::int32_t random_cols(op_data& d) { return d.coin() ? d.one_of({1, 15, 16, 17, 64, 128}) : d.between(1, 200); }
std::int32_t random_rows(op_data& d) { return d.one_of({0, 1, 2, 3, 9, 40}); }

} // namespace

TEST_CASE("row ops give the reference's bits on every back-end") {
  property("rms_norm", [](std::uint64_t seed) {
    op_data d(seed);
    const auto rows = random_rows(d), cols = random_cols(d);
    const auto stride = cols + d.one_of({0, 0, 5});
    const auto x = d.rows(rows, stride, true), weight = d.reals(cols);
    const bool bf16 = d.coin(), gate = d.coin(), ints = d.coin();
    every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
      act_out out(rows, cols, 0, gate, ints);
      auto view = out.view();
      ops.rms_norm(team, {.x = x.data(),
                          .weight = weight.data(),
                          .eps = 1e-6f,
                          .rows = rows,
                          .cols = cols,
                          .round_bf16 = bf16,
                          .f = std::exchange(view.f, nullptr),
                          .out = view,
                          .x_stride = stride == cols ? 0 : stride});
      return out.all;
    });
  });

  property("head_norm_rope", [](std::uint64_t seed) {
    op_data d(seed);
    const auto tokens = random_rows(d), heads = d.between(1, 5), head_dim = 2 * d.one_of({1, 8, 16, 20, 32, 64}),
               positions = 17;
    const auto stride = std::int64_t(heads) * head_dim + d.below(4);
    auto x = d.reals(tokens * stride + 1);
    if (tokens > 0 && d.coin()) x[std::size_t(d.below(std::int32_t(tokens * stride)))] = nan_f32;
    const auto weight = d.reals(head_dim), cos = d.reals(positions * head_dim / 2),
               sin = d.reals(positions * head_dim / 2);
    std::vector<std::int32_t> position(std::size_t(tokens) + 1);
    for (auto& p : position) p = d.below(positions);
    const bool normed = d.coin(), floats = d.coin(), bf16 = d.coin();
    every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
      act_out out(tokens * heads, head_dim, 0, floats, !floats);
      auto view = out.view();
      view.scale_group = head_dim;
      ops.head_norm_rope(team, {.x = x.data(),
                                .stride = stride,
                                .weight = normed ? weight.data() : nullptr,
                                .eps = 1e-6f,
                                .cos = cos.data(),
                                .sin = sin.data(),
                                .positions = position.data(),
                                .tokens = tokens,
                                .heads = heads,
                                .head_dim = head_dim,
                                .round_bf16 = bf16,
                                .scale_factor = 0.125f,
                                .out = view});
      return out.all;
    });
  });

  property("quantise", [](std::uint64_t seed) {
    op_data d(seed);
    const auto group = d.one_of({0, 1, 16, 24, 64}), cols = group == 0 ? random_cols(d) : group * d.between(1, 4),
               rows = random_rows(d);
    const auto x = d.rows(rows, cols, true);
    const bool bf16 = d.coin(), floats = d.coin();
    every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
      act_out out(rows, cols, group, floats, !floats);
      ops.quantise(team, {.x = x.data(), .rows = rows, .cols = cols, .round_bf16 = bf16, .out = out.view()});
      return out.all;
    });
  });

  property("embed", [](std::uint64_t seed) {
    op_data d(seed);
    const auto tokens = random_rows(d), hidden = random_cols(d), vocab = d.between(1, 9);
    const auto table = d.rows(vocab, hidden, true);
    std::vector<std::uint16_t> words;
    for (const float x : table) words.push_back(gpu::to_bf16(x));
    const std::vector<std::int32_t> slots{vocab - 1, -1, vocab}; // the last two: a faulted sample, and nonsense
    std::vector<std::int32_t> ids(std::size_t(tokens) + 1);
    for (auto& id : ids) id = d.between(-3, vocab - 1);
    const bool bf16 = d.coin();
    every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
      outcome x{.f = std::vector<float>(std::size_t(tokens) * std::size_t(hidden) + 1, untouched)};
      ops.embed(team, {.ids = ids.data(),
                       .token_slots = slots.data(),
                       .table = bf16 ? static_cast<const void*>(words.data()) : table.data(),
                       .table_type = bf16 ? dtype::bf16 : dtype::f32,
                       .tokens = tokens,
                       .hidden = hidden,
                       .vocab = vocab,
                       .x = x.f.data()});
      return x;
    });
  });

  property(
      "add",
      [](std::uint64_t seed) {
        op_data d(seed);
        const std::int64_t count = d.coin() ? d.between(0, 40) : d.between(20'000, 50'000);
        auto x = d.reals(count + 1), y = d.reals(count + 1);
        if (count > 0) y[std::size_t(d.below(std::int32_t(count)))] = d.one_of({nan_f32, inf_f32});
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome sum{.f = x};
          ops.add(team, {.x = sum.f.data(), .y = y.data(), .count = count});
          return sum;
        });
      },
      30);
}

TEST_CASE("join_rope gives the reference's bits on every back-end") {
  property(
      "keys and queries, normalised or not, turned in pairs or halves",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto tokens = random_rows(d), heads = d.between(1, 4), a_dim = d.one_of({8, 16, 64, 72}),
                   b_dim = d.one_of({0, 2, 16, 34, 64}), positions = 9;
        const auto a_row = std::int64_t(heads) * a_dim + d.below(3), b_row = std::int64_t(heads) * b_dim + d.below(3);
        auto a = d.reals(tokens * a_row + 1);
        const auto b = d.reals(tokens * b_row + 1), weight = d.reals(a_dim), cos = d.reals(positions * b_dim / 2 + 1),
                   sin = d.reals(positions * b_dim / 2 + 1);
        if (tokens > 0 && d.coin()) a[std::size_t(d.below(std::int32_t(tokens * a_row)))] = nan_f32;
        std::vector<std::int32_t> position(std::size_t(tokens) + 1);
        for (auto& p : position) p = d.below(positions);
        const bool normed = d.coin(), floats = d.coin(), bf16 = d.coin(), pairs = d.coin();
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          act_out out(tokens * heads, a_dim + b_dim, 0, floats, !floats);
          ops.join_rope(team, {.a = a.data(),
                               .a_row = a_row,
                               .a_head = a_dim,
                               .a_dim = a_dim,
                               .weight = normed ? weight.data() : nullptr,
                               .eps = 1e-6f,
                               .b = b.data(),
                               .b_row = b_row,
                               .b_head = b_dim,
                               .b_dim = b_dim,
                               .pairs = pairs,
                               .cos = cos.data(),
                               .sin = sin.data(),
                               .positions = position.data(),
                               .tokens = tokens,
                               .heads = heads,
                               .round_bf16 = bf16,
                               .factor = 0.3f,
                               .out = out.view()});
          return out.all;
        });
      },
      60);
}

TEST_CASE("clamp and add_gated give the reference's bits on every back-end") {
  property(
      "rows with a NaN and Inf among them",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto rows = random_rows(d), cols = random_cols(d), stride = cols + d.below(4);
        auto x = d.rows(rows, stride, true);
        x.push_back(0);
        const auto y = d.rows(rows, cols, true), gate = d.reals(rows + 1);
        const float limit = d.one_of({0.1f, 0.5f, 2.0f});
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome out{.f = x};
          ops.clamp(team, {.x = out.f.data(), .stride = stride, .rows = rows, .cols = cols, .limit = limit});
          for (std::int32_t r = 0; r < rows; ++r)
            for (std::int32_t c = 0; c < cols; ++c) {
              const auto before = x[std::size_t(r) * stride + c], after = out.f[std::size_t(r) * stride + c];
              RC_ASSERT((std::isnan(before) ? std::isnan(after) : std::abs(after) <= limit));
              if (std::abs(before) <= limit) RC_ASSERT(after == before);
            }
          return out;
        });
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome out{.f = std::vector<float>(x.begin(), x.begin() + std::ptrdiff_t(rows) * cols)};
          ops.add_gated(team, {.x = out.f.data(), .y = y.data(), .gate = gate.data(), .rows = rows, .cols = cols});
          return out;
        });
      },
      60);
}

} // namespace quadrant::test
