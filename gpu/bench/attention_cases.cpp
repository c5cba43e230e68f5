// Attention over int8 KV: 16 query heads on 4 KV heads of 128.
#include <memory>
#include <numeric>

#include "config/clock.hpp"
#include "gpu/bench/kernel_bench.hpp"
#include "gpu/bench/operands.hpp"

namespace quadrant::gpu::bench {
namespace {

constexpr std::int32_t q_heads = 16, kv_heads = 4, head_dim = 128;

/// Sequences with `depth` positions behind them, of which `rows` more are attended from.
struct attention_world {
  kv_layout layout;
  std::vector<std::int32_t> blocks;
  aligned_bytes pool;
  std::vector<sequence_rows> sequences;
  std::vector<std::int8_t> own_k, own_v;
  std::vector<float> own_k_scale, own_v_scale;
  act_rows q;
  std::vector<float> m, l, o;
  std::vector<std::int32_t> parts; ///< one a row

  /// shared: all sequences have the same blocks, but for their last.
  attention_world(kernel_bench& b, std::int32_t num_sequences, std::int32_t depth, std::int32_t rows, bool shared)
      : q(num_sequences * rows, q_heads * head_dim, head_dim) {
    const auto length = depth + rows, each = (length + block_tokens - 1) / block_tokens;
    blocks.resize(std::size_t(num_sequences * each));
    std::iota(blocks.begin(), blocks.end(), 0);
    for (std::int32_t s = 1; shared && s < num_sequences; ++s)
      std::copy_n(blocks.begin(), each - 1, blocks.begin() + std::ptrdiff_t(s) * each);
    layout = kv_layout::keys_and_values(std::int32_t(blocks.size()), 1, kv_heads, head_dim, head_dim, dtype::i8);
    pool = aligned_bytes(layout.pool_bytes());
    const auto own = std::size_t(num_sequences) * std::size_t(rows + block_tokens) * kv_heads;
    own_k.resize(own * head_dim), own_v.resize(own * head_dim), own_k_scale.resize(own), own_v_scale.resize(own);
    for (auto& scale : q.scale) scale = 1e-3f;
    m.resize(q.scale.size()), l.resize(q.scale.size()), o.resize(q.q.size());
    parts.resize(std::size_t(num_sequences * rows) + 1);
    std::iota(parts.begin(), parts.end(), 0);

    constexpr std::int32_t chunk = 512;
    const auto kv = numbers(std::size_t(std::max(chunk, rows)) * kv_heads * head_dim);
    std::vector<std::int8_t> chunk_k(std::size_t(chunk + block_tokens) * kv_heads * head_dim), chunk_v = chunk_k;
    std::vector<float> chunk_scale(std::size_t(chunk + block_tokens) * kv_heads), other_scale = chunk_scale;
    const auto append = [&](const sequence_rows& seq, own_rows_view view) {
      b.ops.kv_append(b.threads, {.k = kv.data(),
                                  .v = kv.data(),
                                  .k_stride = kv_heads * head_dim,
                                  .v_stride = kv_heads * head_dim,
                                  .sequences = &seq,
                                  .num_sequences = 1,
                                  .pool = pool.data(),
                                  .layout = layout,
                                  .layer = 0,
                                  .own = view});
    };
    std::int32_t own_row = 0;
    for (std::int32_t s = 0; s < num_sequences; ++s) {
      const auto* mine = blocks.data() + std::ptrdiff_t(s) * each;
      for (std::int32_t first = 0; first < depth; first += chunk) {
        const sequence_rows seq{.first_row = 0,
                                .num_rows = std::min(chunk, depth - first),
                                .first_position = first,
                                .own_row = 0,
                                .blocks = mine};
        append(seq, {chunk_k.data(), chunk_v.data(), chunk_scale.data(), other_scale.data()});
      }
      sequence_rows last{.first_row = 0, .num_rows = rows, .first_position = depth, .own_row = own_row, .blocks = mine};
      append(last, own_view());
      last.first_row = s * rows;
      sequences.push_back(last);
      own_row += depth % block_tokens + rows;
    }
  }
  own_rows_view own_view() { return {own_k.data(), own_v.data(), own_k_scale.data(), own_v_scale.data()}; }

  void run(kernel_bench& b) {
    b.ops.attend(b.threads, {.q = q.ints(),
                             .num_q_heads = q_heads,
                             .sequences = sequences.data(),
                             .num_sequences = std::int32_t(sequences.size()),
                             .pool = pool.data(),
                             .layout = layout,
                             .layer = 0,
                             .own = own_view(),
                             .parts = parts.data(),
                             .m = m.data(),
                             .l = l.data(),
                             .o = o.data()});
  }
};

/// q.K and P.V of the pairs that causality leaves.
double operations(std::int32_t sequences, std::int32_t depth, std::int32_t rows) {
  return 4.0 * q_heads * head_dim * sequences * (double(rows) * depth + 0.5 * double(rows) * (rows + 1));
}

/// K and V rows, and a scale for each block.
double kv_bytes(std::int32_t depth) { return 2.0 * kv_heads * depth * (head_dim + 4.0 / block_tokens); }

void prefill(kernel_bench& b, std::int32_t tokens, std::int32_t depth) {
  if (!b.wants("prefill_attention")) return;
  const auto w = std::make_shared<attention_world>(b, 1, depth, tokens, false);
  b.measure(
      {.name = "prefill_attention",
       .shape =
           {{"tokens", tokens}, {"depth", depth}, {"q_heads", q_heads}, {"kv_heads", kv_heads}, {"head_dim", head_dim}},
       .work = operations(1, depth, tokens),
       .unit = "GOPS",
       .limit_name = "int8 peak",
       .limit = [&b] { return b.limits.int8_gops(b.threads); },
       .run = [&b, w] { w->run(b); }});
}

void decode(kernel_bench& b, std::int32_t sequences, std::int32_t depth) {
  if (!b.wants("decode_attention")) return;
  const auto w = std::make_shared<attention_world>(b, sequences, depth - 1, 1, false);
  const double bytes = sequences * kv_bytes(depth), per_byte = operations(sequences, depth - 1, 1) / bytes;
  b.measure(
      {.name = "decode_attention",
       .shape = {{"sequences", sequences},
                 {"depth", depth},
                 {"q_heads", q_heads},
                 {"kv_heads", kv_heads},
                 {"head_dim", head_dim},
                 {"kv_mb", bytes * 1e-6}},
       .work = bytes,
       .unit = "GB/s",
       .limit_name = "min(DRAM read, int8 peak)",
       .limit =
           [&b, per_byte] { return std::min(b.limits.dram_gb_s(b.threads), b.limits.int8_gops(b.threads) / per_byte); },
       .run = [&b, w] { w->run(b); }});
}

/// The time of n sequences on one KV, against n times the time of one.
void decode_shared(kernel_bench& b, std::int32_t sequences, std::int32_t depth) {
  if (!b.wants("decode_attention_shared")) return;
  const auto one = std::make_shared<attention_world>(b, 1, depth - 1, 1, false);
  const auto all = std::make_shared<attention_world>(b, sequences, depth - 1, 1, true);
  const auto us = [&b](attention_world& w) {
    const auto start = steady_clock::monotonic_ns();
    w.run(b);
    return double(steady_clock::monotonic_ns() - start) * 1e-3;
  };
  b.measure({.name = "decode_attention_shared",
             .shape = {{"sequences", sequences},
                       {"depth", depth},
                       {"q_heads", q_heads},
                       {"kv_heads", kv_heads},
                       {"head_dim", head_dim},
                       {"kv_mb", kv_bytes(depth) * 1e-6}},
             .work = 0,
             .unit = "us",
             .limit_name = "as many single runs",
             .limit =
                 [us, one, sequences] {
                   us(*one);
                   return sequences * std::min({us(*one), us(*one), us(*one)});
                 },
             .run = [&b, all] { all->run(b); }});
}

} // namespace

void attention_cases(kernel_bench& b) {
  prefill(b, 2048, 0);
  prefill(b, 512, 0);
  prefill(b, 512, 1536);
  decode(b, 1, 131072);
  decode(b, 32, 4096);
  decode_shared(b, 8, 32768);
  decode_shared(b, 8, 2048);
}

} // namespace quadrant::gpu::bench
