// test/gpu/kv_world.hpp: sequences that live in a KV pool: their rows, the steps that append and attend, whole lives.
#pragma once
#include <cmath>
#include <numeric>
#include <vector>

#include "gpu/math.hpp"
#include "test/gpu/op_data.hpp"

namespace quadrant::test {

using gpu::block_tokens;
using gpu::dtype;

struct shape {
  std::int32_t q_heads, kv_heads, head_dim, value_dim; ///< head_dim: of queries and keys
  dtype type;
  bool unsound = false; ///< some K, V or q hold a NaN
};

/// The q, k, v of one sequence, all positions.
struct life {
  std::int32_t length;
  std::vector<float> q, k, v; ///< [length, heads, D]

  life(op_data& d, const shape& s, std::int32_t n) : length(n) {
    const bool wild = d.below(4) == 0; // then single keys win everything, and little is folded
    const auto rows = [&](std::int32_t heads, std::int32_t width) {
      const auto cols = heads * width;
      auto list = d.rows(n, cols, s.unsound);
      if (!wild)
        for (auto& x : list)
          if (!(std::fabs(x) <= 1)) x = x * 1e-4f; // NaN stays
      return list;
    };
    q = rows(s.q_heads, s.head_dim), k = rows(s.kv_heads, s.head_dim), v = rows(s.kv_heads, s.value_dim);
    const float sharp = d.one_of({0.5f, 1.0f, 3.0f});
    for (auto& x : k) x *= sharp;
  }
};

/// Rows [first, first + num) of one life in one micro-batch. `ends`: of the segments that each of the workers holds;
/// the last holds the rest.
struct piece {
  const life* of;
  std::int32_t first, num;
  std::vector<std::int32_t>* blocks;
  std::vector<std::int32_t> ends = {};
};

/// The pools of one or several workers, and the steps that run on them.
class kv_world {
public:
  kv_world(const shape& s, std::int32_t num_blocks, const gpu::ops_table& ops, gpu::team& team, std::size_t workers = 1)
      : s_(s), layout_(gpu::kv_layout::keys_and_values(num_blocks, 2, s.kv_heads, s.head_dim, s.value_dim, s.type)),
        ops_(ops), team_(team) {
    for (std::size_t w = 0; w < workers; ++w) pools_.emplace_back(layout_.pool_bytes());
  }

  [[nodiscard]] gpu::aligned_bytes& pool(std::size_t worker = 0) { return pools_[worker]; }

  /// Appends the pieces' rows and attends from them, each worker over what it holds, the state handed on from each to
  /// the next; y [rows, q_heads, D] in the order of the pieces.
  std::vector<float> step(const std::vector<piece>& pieces) {
    std::vector<float> y, k, v, q;
    for (const auto& p : pieces) {
      const auto take = [&p](std::vector<float>& to, const std::vector<float>& from, std::int64_t width) {
        to.insert(to.end(), from.begin() + p.first * width, from.begin() + (p.first + p.num) * width);
      };
      take(k, p.of->k, k_width()), take(v, p.of->v, v_width()), take(q, p.of->q, q_width());
    }
    const auto rows = std::int32_t(q.size() / std::size_t(q_width()));
    std::vector<float> rounded(q.size()), q_scale(std::size_t(rows) * std::size_t(s_.q_heads));
    std::vector<std::int8_t> q_int(q.size());
    gpu::act_view act{.f = rounded.data()};
    if (s_.type == dtype::i8) act = {.q = q_int.data(), .scale = q_scale.data(), .scale_group = s_.head_dim};
    ops_.quantise(team_, {.x = q.data(),
                          .rows = rows,
                          .cols = std::int32_t(q_width()),
                          .round_bf16 = s_.type == dtype::bf16,
                          .out = act});
    state before;
    for (std::size_t w = 0; w < pools_.size(); ++w) before = attend(pieces, w, k, v, act, rows, before, y);
    return y;
  }

private:
  /// m, l, o of every row and head; empty before the first worker.
  struct state {
    std::vector<float> m, l, o;
    state() = default;
    state(std::size_t heads, std::int32_t width) : m(heads, 7), l(heads, 7), o(heads * std::size_t(width), 7) {}
    gpu::attention_state view() {
      return m.empty() ? gpu::attention_state{} : gpu::attention_state{m.data(), l.data(), o.data()};
    }
  };

  [[nodiscard]] std::int64_t k_width() const { return std::int64_t(s_.kv_heads) * s_.head_dim; }
  [[nodiscard]] std::int64_t v_width() const { return std::int64_t(s_.kv_heads) * s_.value_dim; }
  [[nodiscard]] std::int64_t q_width() const { return std::int64_t(s_.q_heads) * s_.head_dim; }

  /// What worker w leaves to the next; the last one leaves y.
  state attend(const std::vector<piece>& pieces, std::size_t w, const std::vector<float>& k,
               const std::vector<float>& v, const gpu::act_view& q, std::int32_t rows, state& before,
               std::vector<float>& y) {
    std::int32_t row = 0, own = 0;
    std::vector<gpu::sequence_rows> sequences;
    std::vector<std::int32_t> parts = {0};
    std::vector<std::vector<std::int32_t>> here; // block ids of what others hold are no ids here
    for (const auto& p : pieces) {
      gpu::sequence_rows seq{.first_row = row, .num_rows = p.num, .first_position = p.first, .own_row = own};
      if (w > 0) seq.first_segment = p.ends[w - 1];
      if (w < p.ends.size()) seq.end_segment = p.ends[w];
      auto& blocks = here.emplace_back(*p.blocks);
      for (std::size_t b = 0; b < blocks.size(); ++b)
        if (!seq.holds(std::int32_t(b) * block_tokens)) blocks[b] = INT32_MIN;
      seq.blocks = blocks.data();
      for (std::int32_t r = 0; r < p.num; ++r) parts.push_back(parts.back() + seq.parts_at(p.first + r));
      sequences.push_back(seq);
      row += p.num;
      own += p.num + p.first % block_tokens;
    }
    std::vector<float> own_k(std::size_t(own) * std::size_t(k_width())),
        own_v(std::size_t(own) * std::size_t(v_width())), own_k_scale(std::size_t(own) * std::size_t(s_.kv_heads)),
        own_v_scale = own_k_scale;
    const gpu::own_rows_view view{own_k.data(), own_v.data(), own_k_scale.data(), own_v_scale.data()};
    ops_.kv_append(team_, {.k = k.data(),
                           .v = v.data(),
                           .k_stride = k_width(),
                           .v_stride = v_width(),
                           .sequences = sequences.data(),
                           .num_sequences = std::int32_t(sequences.size()),
                           .pool = pools_[w].data(),
                           .layout = layout_,
                           .layer = 1,
                           .own = view});
    state made(std::size_t(parts.back() * s_.q_heads), s_.value_dim);
    ops_.attend(team_, {.q = q,
                        .num_q_heads = s_.q_heads,
                        .sequences = sequences.data(),
                        .num_sequences = std::int32_t(sequences.size()),
                        .pool = pools_[w].data(),
                        .layout = layout_,
                        .layer = 1,
                        .own = view,
                        .parts = parts.data(),
                        .m = made.m.data(),
                        .l = made.l.data(),
                        .o = made.o.data()});
    const bool last = w + 1 == pools_.size();
    state after(last ? 0 : std::size_t(rows * s_.q_heads), s_.value_dim);
    if (last) y.assign(std::size_t(rows) * std::size_t(s_.q_heads * s_.value_dim), 7);
    ops_.merge(team_, {.m = made.m.data(),
                       .l = made.l.data(),
                       .o = made.o.data(),
                       .parts = parts.data(),
                       .tokens = rows,
                       .heads = s_.q_heads,
                       .head_dim = s_.value_dim,
                       .before = before.view(),
                       .y = last ? y.data() : nullptr,
                       .after = after.view()});
    return after;
  }

  shape s_;
  gpu::kv_layout layout_;
  const gpu::ops_table& ops_;
  gpu::team& team_;
  std::vector<gpu::aligned_bytes> pools_;
};

inline std::int32_t blocks_of(std::int32_t length) { return (length + block_tokens - 1) / block_tokens; }

/// The whole life of one sequence in chunks of the sizes given, in blocks first_block, first_block + 1, ...
inline outcome live(const life& one, const std::vector<std::int32_t>& chunks, const shape& s, const gpu::ops_table& ops,
                    gpu::team& team) {
  kv_world world(s, blocks_of(one.length), ops, team);
  std::vector<std::int32_t> blocks(std::size_t(blocks_of(one.length)));
  std::iota(blocks.rbegin(), blocks.rend(), 0); // not in order
  outcome out;
  std::int32_t first = 0;
  for (const auto n : chunks) {
    const auto y = world.step({{&one, first, n, &blocks}});
    out.f.insert(out.f.end(), y.begin(), y.end());
    first += n;
  }
  RC_ASSERT(first == one.length);
  if (s.type == dtype::i8)
    out.q.assign(world.pool().as<std::int8_t>(), world.pool().as<std::int8_t>() + world.pool().size());
  return out;
}

} // namespace quadrant::test
