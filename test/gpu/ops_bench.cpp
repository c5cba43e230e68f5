// gpu_ops_bench [threads]: what the back-ends of this processor take for a few shapes, as a table.
// Shapes of a 16-layer model of 1.8 B parameters: hidden 1024, 16/4 heads of 128, 64 experts of width 512, top 8.
// The best of several runs counts: a busy neighbour only ever makes one slower. One thread is timed by its own
// processor time, several by the wall clock.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <time.h>

#include "gpu/backend.hpp"

namespace {

using namespace quadrant::gpu;

std::vector<float> numbers(std::size_t n) {
  std::vector<float> list(n);
  std::uint32_t state = 1;
  for (auto& x : list) x = float((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1.0f;
  return list;
}

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

double best_seconds(const team& t, const std::function<void()>& run) {
  const auto clock = t.num_threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  double best = 1e9;
  run();
  for (const auto end = now(clock) + 0.3; now(clock) < end;) {
    const auto start = now(clock);
    run();
    best = std::min(best, now(clock) - start);
  }
  return best;
}

/// One line of the table: `operations` are multiplications and additions.
void line(const std::string& name, double operations, team& t,
          const std::function<void(const ops_table&, team&)>& run) {
  std::printf("| %-44s |", name.c_str());
  for (const auto isa : available_isas()) {
    const double s = best_seconds(t, [&] { run(**ops_for(isa), t); });
    std::printf(" %9.1f us %6.1f GOPS |", s * 1e6, operations / s / 1e9);
  }
  std::printf("\n");
  std::fflush(stdout);
}

struct act {
  std::vector<float> f, scale;
  std::vector<std::int8_t> q;
  act(std::int32_t rows, std::int32_t cols)
      : f(numbers(std::size_t(rows) * std::size_t(cols))), scale(std::size_t(rows), 0.01f) {
    for (const float x : f) q.push_back(std::int8_t(x * 127));
  }
  act_view ints() { return {.q = q.data(), .scale = scale.data()}; }
};

void linears(team& t, dtype type, std::int32_t rows, std::int32_t in, std::int32_t out) {
  const auto w = pack(type, numbers(std::size_t(out) * std::size_t(in)), out, in,
                      type == dtype::i8 || type == dtype::i4 ? 128 : 0);
  act x(rows, in);
  std::vector<float> y(std::size_t(rows) * std::size_t(out));
  line("linear " + std::string(to_string(type)) + " [" + std::to_string(rows) + ", " + std::to_string(in) + " -> " +
           std::to_string(out) + "]",
       2.0 * rows * in * out, t, [&](const ops_table& ops, team& team) {
         ops.linear(team, {.x = type == dtype::i8 || type == dtype::i4 ? x.ints() : act_view{.f = x.f.data()},
                           .rows = rows,
                           .weight = &w,
                           .first_out = 0,
                           .num_out = out,
                           .y = y.data(),
                           .y_stride = out});
       });
}

void experts(team& t, std::int32_t rows, std::int32_t in, std::int32_t out) {
  constexpr std::int32_t num_experts = 64;
  std::vector<packed_weight> weights;
  std::vector<const packed_weight*> pointers;
  std::vector<std::int32_t> offsets{0};
  const auto values = numbers(std::size_t(out) * std::size_t(in));
  for (std::int32_t e = 0; e < num_experts; ++e) weights.push_back(pack(dtype::i4, values, out, in, 128));
  for (std::int32_t e = 0; e < num_experts; ++e)
    pointers.push_back(&weights[std::size_t(e)]), offsets.push_back(rows * (e + 1) / num_experts);
  act x(rows, in);
  std::vector<float> y(std::size_t(rows) * std::size_t(out));
  line("grouped_linear i4 [" + std::to_string(rows) + " over 64, " + std::to_string(in) + " -> " + std::to_string(out) +
           "]",
       2.0 * rows * in * out, t, [&](const ops_table& ops, team& team) {
         ops.grouped_linear(team, {.x = x.ints(),
                                   .x_row = nullptr,
                                   .offsets = offsets.data(),
                                   .num_experts = num_experts,
                                   .weight = pointers.data(),
                                   .y = y.data()});
       });
}

void attention(team& t, dtype type, std::int32_t depth, std::int32_t rows) {
  constexpr std::int32_t q_heads = 16, kv_heads = 4, head_dim = 128;
  const auto layout = kv_layout::keys_and_values(1, kv_heads, head_dim, type);
  const auto length = depth + rows, blocks = (length + block_tokens - 1) / block_tokens;
  aligned_bytes pool(std::size_t(blocks) * layout.block_bytes());
  std::vector<std::int32_t> ids(static_cast<std::size_t>(blocks));
  std::iota(ids.begin(), ids.end(), 0);
  const auto kv = numbers(std::size_t(length) * kv_heads * head_dim);
  std::vector<float> own_k(kv.size()), own_v(kv.size()), own_ks(kv.size()), own_vs(kv.size());
  const own_rows_view own{own_k.data(), own_v.data(), own_ks.data(), own_vs.data()};
  const auto& fast = **ops_for(available_isas().back());
  const auto append = [&](std::int32_t first, std::int32_t n) {
    const sequence_rows seq{.first_row = 0, .num_rows = n, .first_position = first, .own_row = 0, .blocks = ids.data()};
    const auto* from = kv.data() + std::ptrdiff_t(first) * kv_heads * head_dim;
    fast.kv_append(t, {.k = from,
                       .v = from,
                       .k_stride = kv_heads * head_dim,
                       .v_stride = kv_heads * head_dim,
                       .sequences = &seq,
                       .num_sequences = 1,
                       .pool = pool.data(),
                       .layout = layout,
                       .layer = 0,
                       .own = own});
  };
  if (depth > 0) append(0, depth);
  append(depth, rows);
  act q(rows, q_heads * head_dim);
  std::vector<float> scale(std::size_t(rows) * q_heads, 0.001f), m(scale.size()), l(scale.size()), o(q.f.size());
  const sequence_rows seq{
      .first_row = 0, .num_rows = rows, .first_position = depth, .own_row = 0, .blocks = ids.data()};
  line("attend " + std::string(to_string(type)) + " [" + std::to_string(rows) + " rows at depth " +
           std::to_string(depth) + "]",
       4.0 * q_heads * head_dim * (double(rows) * depth + 0.5 * double(rows) * (rows + 1)), t,
       [&](const ops_table& ops, team& team) {
         ops.attend(team,
                    {.q = type == dtype::i8 ? act_view{.q = q.q.data(), .scale = scale.data(), .scale_group = head_dim}
                                            : act_view{.f = q.f.data()},
                     .num_q_heads = q_heads,
                     .sequences = &seq,
                     .num_sequences = 1,
                     .pool = pool.data(),
                     .layout = layout,
                     .layer = 0,
                     .own = own,
                     .first_segment = 0,
                     .last_segment = INT32_MAX,
                     .num_parts = 1,
                     .m = m.data(),
                     .l = l.data(),
                     .o = o.data()});
       });
}

void rows(team& t) {
  constexpr std::int32_t n = 512, cols = 1024;
  act x(n, cols);
  const auto gu = numbers(std::size_t(n) * 2 * cols), weight = numbers(cols);
  line("rms_norm to i8 [512, 1024]", 4.0 * n * cols, t, [&](const ops_table& ops, team& team) {
    ops.rms_norm(team, {.x = x.f.data(),
                        .weight = weight.data(),
                        .eps = 1e-6f,
                        .rows = n,
                        .cols = cols,
                        .round_bf16 = false,
                        .f = nullptr,
                        .out = x.ints()});
  });
  line("silu_mul to i8 [512, 1024]", 24.0 * n * cols, t, [&](const ops_table& ops, team& team) {
    ops.silu_mul(team, {.gu = gu.data(), .rows = n, .cols = cols, .round_bf16 = false, .out = x.ints()});
  });
}

} // namespace

int main(int argc, char** argv) {
  team t({.num_threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1});
  team::prepare_thread();
  std::printf("| %-44s |", (std::to_string(t.num_threads()) + " thread(s)").c_str());
  for (const auto isa : available_isas()) std::printf(" %-25s |", ops_for(isa).value()->name);
  std::printf("\n");
  linears(t, dtype::i8, 1, 1024, 3072);
  linears(t, dtype::i8, 512, 1024, 3072);
  linears(t, dtype::f32, 1, 1024, 1024);
  linears(t, dtype::f32, 64, 1024, 1024);
  linears(t, dtype::bf16, 64, 1024, 1024);
  experts(t, 8, 1024, 1024);
  experts(t, 2048, 1024, 1024);
  attention(t, dtype::i8, 2047, 1);
  attention(t, dtype::i8, 0, 512);
  attention(t, dtype::f32, 0, 256);
  rows(t);
}
