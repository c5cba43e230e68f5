#include <cmath>

#include "test/gpu/op_data.hpp"

namespace quadrant::test {
namespace {

using gpu::dtype;

struct act_rows {
  std::vector<float> f{}, scale{};
  std::vector<std::int8_t> q{};
  std::int32_t scale_group = 0;

  gpu::act_view view() {
    if (q.empty() && !f.empty()) return {.f = f.data()};
    return {.q = q.data(), .scale = scale.data(), .scale_group = scale_group};
  }
};

struct linear_case {
  gpu::packed_weight weight;
  act_rows x;
};

gpu::packed_weight random_weight(op_data& d, dtype type, std::int32_t out, std::int32_t in, std::int32_t group,
                                 bool biased) {
  if (type == dtype::i4 && d.coin()) {
    std::vector<std::uint8_t> q(std::size_t(out) * std::size_t(in));
    for (auto& x : q) x = std::uint8_t(d.below(16));
    return gpu::pack_i4(q, d.reals(std::int64_t(out) * ((in + group - 1) / group)), d.below(16), out, in, group);
  }
  const auto w = d.rows(out, in);
  const auto bias = biased ? d.reals(out) : std::vector<float>{};
  return gpu::pack(type, w, out, in, type == dtype::i8 || type == dtype::i4 ? group : 0, bias);
}

act_rows random_rows(op_data& d, dtype weight, std::int32_t rows, std::int32_t in) {
  act_rows x;
  if (weight == dtype::f32 || weight == dtype::bf16) {
    x.f = d.rows(rows, in, true);
    x.f.push_back(0); // never empty
    return x;
  }
  x.q = d.ints(std::int64_t(rows) * in);
  for (const std::int32_t g : {64, 128, 24, 20})
    if (in % g == 0 && d.coin()) x.scale_group = g;
  x.scale = d.reals(std::int64_t(rows) * (x.scale_group == 0 ? 1 : in / x.scale_group));
  for (auto& s : x.scale)
    if (d.below(8) == 0) s = nan_f32;
  return x;
}

dtype random_type(op_data& d) {
  return d.one_of({dtype::f32, dtype::bf16, dtype::i8, dtype::i8, dtype::i4, dtype::i4});
}
std::int32_t random_in(op_data& d) { return d.coin() ? d.one_of({8, 64, 96, 128, 192, 256, 384}) : d.between(1, 300); }
std::int32_t random_group(op_data& d, std::int32_t in) { return d.one_of({32, 64, 128, in, in, 20}); }
std::int32_t random_count(op_data& d) {
  return d.coin() ? d.one_of({0, 1, 2, 3, 4, 5, 6, 7, 12, 13}) : d.between(0, 70);
}

} // namespace

TEST_CASE("linear") {
  property(
      "every back-end gives the reference's bits, and writes its outputs only",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto type = random_type(d);
        const auto in = random_in(d), out = d.between(1, 150), rows = random_count(d);
        const auto weight = random_weight(d, type, out, in, random_group(d, in), d.coin());
        auto x = random_rows(d, type, rows, in);
        const auto first = d.below((out + 15) / 16) * 16, count = d.between(1, out - first);
        const auto stride = count + d.below(3);
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome y{.f = std::vector<float>(std::size_t(rows) * std::size_t(stride) + 16, untouched)};
          ops.linear(team, {.x = x.view(),
                            .rows = rows,
                            .weight = &weight,
                            .first_out = first,
                            .num_out = count,
                            .y = y.f.data(),
                            .y_stride = stride});
          return y;
        });
      },
      150);

  property(
      "a row's result does not depend on the rows beside it",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto type = random_type(d);
        const auto in = random_in(d), out = d.between(1, 150), rows = d.between(2, 20);
        const auto weight = random_weight(d, type, out, in, random_group(d, in), false);
        auto x = random_rows(d, type, rows, in);
        for (const auto isa : gpu::available_isas()) {
          const auto& ops = *gpu::ops_for(isa).value();
          outcome together{.f = std::vector<float>(std::size_t(rows) * std::size_t(out))}, apart = together;
          ops.linear(team_of(3), {.x = x.view(),
                                  .rows = rows,
                                  .weight = &weight,
                                  .first_out = 0,
                                  .num_out = out,
                                  .y = together.f.data(),
                                  .y_stride = out});
          for (std::int32_t r = 0; r < rows; ++r) {
            auto one = x.view();
            if (one.f != nullptr)
              one.f += std::ptrdiff_t(r) * in;
            else
              one.q += std::ptrdiff_t(r) * in, one.scale += r * (x.scale_group == 0 ? 1 : in / x.scale_group);
            ops.linear(team_of(1), {.x = one,
                                    .rows = 1,
                                    .weight = &weight,
                                    .first_out = 0,
                                    .num_out = out,
                                    .y = apart.f.data() + std::ptrdiff_t(r) * out,
                                    .y_stride = out});
          }
          RC_ASSERT(together == apart);
        }
      },
      40);

  property(
      "runs end where either scale changes, even where neither divides the other",
      [](std::uint64_t seed) {
        op_data d(seed);
        const std::int32_t in = 384, out = 5;
        const auto weight = random_weight(d, dtype::i8, out, in, 128, false);
        act_rows x{.scale = d.reals(4), .q = d.ints(in), .scale_group = 96};
        std::vector<float> w(std::size_t(out) * in);
        unpack(weight, w);
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome y{.f = std::vector<float>(out)};
          ops.linear(team, {.x = x.view(),
                            .rows = 1,
                            .weight = &weight,
                            .first_out = 0,
                            .num_out = out,
                            .y = y.f.data(),
                            .y_stride = out});
          for (std::int32_t n = 0; n < out; ++n) {
            double sum = 0, size = 0;
            for (std::int32_t k = 0; k < in; ++k) {
              const double term = double(x.q[std::size_t(k)]) * double(x.scale[std::size_t(k / 96)]) *
                                  double(w[std::size_t(n * in + k)]);
              sum += term, size += std::abs(term);
            }
            RC_ASSERT(std::abs(double(y.f[std::size_t(n)]) - sum) <= 1e-5 * size);
          }
          return y;
        });
      },
      20);
}

/// Experts of one shape, and rows sorted by them.
struct expert_case {
  std::vector<gpu::packed_weight> weights;
  std::vector<const gpu::packed_weight*> weight;
  std::vector<std::int32_t> offsets{0}, x_row;
  act_rows x;
  bool shuffled;

  expert_case(op_data& d, dtype type, std::int32_t out, std::int32_t in) : shuffled(d.coin()) {
    const auto group = random_group(d, in), experts = d.between(1, 6);
    for (std::int32_t e = 0; e < experts; ++e) {
      weights.push_back(type == dtype::i4 ? gpu::pack(type, d.rows(out, in), out, in, group)
                                          : random_weight(d, type, out, in, group, false));
      offsets.push_back(offsets.back() + (d.below(3) == 0 ? 0 : random_count(d)));
    }
    for (const auto& w : weights) weight.push_back(&w);
    const auto sources = d.between(1, 20);
    x_row.resize(std::size_t(rows()) + 1);
    for (auto& r : x_row) r = d.below(sources);
    x = random_rows(d, type, shuffled ? sources : rows(), in);
  }
  [[nodiscard]] std::int32_t rows() const { return offsets.back(); }
  [[nodiscard]] std::int32_t experts() const { return std::int32_t(weights.size()); }
  [[nodiscard]] const std::int32_t* source() const { return shuffled ? x_row.data() : nullptr; }
};

/// bf16 words as comparable integers: NaNs are one here too.
std::vector<std::int32_t> comparable(const std::vector<std::uint16_t>& words) {
  std::vector<std::int32_t> list;
  for (const auto w : words) list.push_back((w & 0x7fff) > 0x7f80 ? -1 : w);
  return list;
}

TEST_CASE("grouped_linear") {
  property(
      "every back-end gives the reference's bits, empty experts and shuffled rows included",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto type = random_type(d);
        const auto in = random_in(d), out = d.between(1, 100);
        expert_case c(d, type, out, in);
        const auto size = std::size_t(c.rows()) * std::size_t(out) + 16;
        const bool bf16 = d.coin();
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          outcome y{.f = std::vector<float>(size, untouched)};
          std::vector<std::uint16_t> words(size, 7);
          ops.grouped_linear(team, {.x = c.x.view(),
                                    .x_row = c.source(),
                                    .offsets = c.offsets.data(),
                                    .num_experts = c.experts(),
                                    .weight = c.weight.data(),
                                    .y = bf16 ? static_cast<void*>(words.data()) : y.f.data(),
                                    .y_type = bf16 ? dtype::bf16 : dtype::f32});
          y.i = comparable(words);
          return y;
        });
      },
      80);
}

TEST_CASE("gate_up") {
  property(
      "every back-end gives the reference's bits, in one pass or in two",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto type = random_type(d);
        const auto group = d.one_of({0, 0, 16, 32, 64, 20});
        const auto in = random_in(d), width = group == 0 ? d.between(1, 90) : group * d.between(1, 3);
        expert_case c(d, type, 2 * width, in);
        for (auto& s : c.x.scale)
          if (d.below(4) == 0) s *= 100; // past both ends of exp
        const auto values = std::size_t(c.rows()) * std::size_t(width);
        const bool ints = c.x.f.empty() ? d.below(4) != 0 : d.below(4) == 0, bf16 = !ints && d.coin();
        every_back_end_agrees([&](const gpu::ops_table& ops, gpu::team& team) {
          std::vector<float> room(2 * values);
          outcome y{.f = std::vector<float>(values + 1, untouched), .q = std::vector<std::int8_t>(values + 1, 99)};
          std::vector<float> scale(std::size_t(c.rows()) * std::size_t(group == 0 ? 1 : width / group) + 1, untouched);
          gpu::act_view act{.f = y.f.data()};
          if (ints) act = {.q = y.q.data(), .scale = scale.data(), .scale_group = group};
          ops.gate_up(team, {.x = c.x.view(),
                             .x_row = c.source(),
                             .offsets = c.offsets.data(),
                             .num_experts = c.experts(),
                             .weight = c.weight.data(),
                             .round_bf16 = bf16,
                             .gate_up = room.data(),
                             .out = act});
          y.f.insert(y.f.end(), scale.begin(), scale.end());
          return y;
        });
      },
      80);

  property("is silu of the gate times up", [](std::uint64_t seed) {
    op_data d(seed);
    const std::int32_t in = 8, width = d.between(1, 40);
    std::vector<float> w(std::size_t(2 * width * in), 0.0f); // output n is x[n mod 8]
    for (std::int32_t n = 0; n < 2 * width; ++n) w[std::size_t(n * in + n % in)] = 1;
    const auto weight = gpu::pack(dtype::f32, w, 2 * width, in, 0);
    const auto* one = &weight;
    std::vector<float> x(8), room(std::size_t(2 * width)), y(std::size_t(width) + 1);
    for (auto& v : x) v = d.real() < 0 ? -5.0f * float(d.below(100)) / 99.0f : 5.0f * float(d.below(100)) / 99.0f;
    const std::int32_t offsets[] = {0, 1};
    for (const auto isa : gpu::available_isas()) {
      gpu::ops_for(isa).value()->gate_up(team_of(1), {.x = {.f = x.data()},
                                                      .x_row = nullptr,
                                                      .offsets = offsets,
                                                      .num_experts = 1,
                                                      .weight = &one,
                                                      .round_bf16 = false,
                                                      .gate_up = room.data(),
                                                      .out = {.f = y.data()}});
      for (std::int32_t n = 0; n < width; ++n) {
        const double g = double(x[std::size_t(n % in)]), u = double(x[std::size_t((n + width) % in)]);
        RC_ASSERT(std::abs(double(y[std::size_t(n)]) - g / (1 + std::exp(-g)) * u) <= 1e-6 * std::abs(g * u));
      }
    }
  });
}

} // namespace quadrant::test
