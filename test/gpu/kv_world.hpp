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
  std::int32_t q_heads, kv_heads, head_dim;
  dtype type;
  bool unsound = false; ///< some K, V or q hold a NaN
};

/// The q, k, v of one sequence, all positions.
struct life {
  std::int32_t length;
  std::vector<float> q, k, v; ///< [length, heads, D]

  life(op_data& d, const shape& s, std::int32_t n) : length(n) {
    const bool wild = d.below(4) == 0; // then single keys win everything, and little is folded
    const auto rows = [&](std::int32_t heads) {
      const auto cols = heads * s.head_dim;
      auto list = d.rows(n, cols, s.unsound);
      if (!wild)
        for (auto& x : list)
          if (!(std::fabs(x) <= 1)) x = x * 1e-4f; // NaN stays
      return list;
    };
    q = rows(s.q_heads), k = rows(s.kv_heads), v = rows(s.kv_heads);
    const float sharp = d.one_of({0.5f, 1.0f, 3.0f});
    for (auto& x : k) x *= sharp;
  }
};

/// Rows [first, first + num) of one life in one micro-batch.
struct piece {
  const life* of;
  std::int32_t first, num;
  std::vector<std::int32_t>* blocks;
};

/// A pool, and the steps that run on it.
class kv_world {
public:
  kv_world(const shape& s, std::int32_t num_blocks, const gpu::ops_table& ops, gpu::team& team)
      : s_(s), layout_(gpu::kv_layout::keys_and_values(num_blocks, 2, s.kv_heads, s.head_dim, s.type)), ops_(ops),
        team_(team), pool_(layout_.pool_bytes()) {}

  [[nodiscard]] gpu::aligned_bytes& pool() { return pool_; }

  /// Appends the pieces' rows and attends from them; y [rows, q_heads, D] in the order of the pieces. `split`: the
  /// first segment that is a part of its own (0: one part).
  std::vector<float> step(const std::vector<piece>& pieces, std::int32_t split = 0) {
    std::int32_t rows = 0, own = 0, reach = 0;
    std::vector<gpu::sequence_rows> sequences;
    for (const auto& p : pieces) {
      sequences.push_back({.first_row = rows,
                           .num_rows = p.num,
                           .first_position = p.first,
                           .own_row = own,
                           .blocks = p.blocks->data()});
      rows += p.num;
      own += p.num + p.first % block_tokens;
      reach = std::max(reach, p.first + p.num);
    }
    const auto kv_width = std::int64_t(s_.kv_heads) * s_.head_dim, q_width = std::int64_t(s_.q_heads) * s_.head_dim;
    std::vector<float> k, v, q;
    for (const auto& p : pieces) {
      const auto take = [&p](std::vector<float>& to, const std::vector<float>& from, std::int64_t width) {
        to.insert(to.end(), from.begin() + p.first * width, from.begin() + (p.first + p.num) * width);
      };
      take(k, p.of->k, kv_width), take(v, p.of->v, kv_width), take(q, p.of->q, q_width);
    }
    const auto own_words = std::size_t(own) * std::size_t(kv_width);
    std::vector<float> own_k(own_words), own_v(own_words), own_k_scale(std::size_t(own) * std::size_t(s_.kv_heads)),
        own_v_scale = own_k_scale;
    const gpu::own_rows_view view{own_k.data(), own_v.data(), own_k_scale.data(), own_v_scale.data()};
    ops_.kv_append(team_, {.k = k.data(),
                           .v = v.data(),
                           .k_stride = kv_width,
                           .v_stride = kv_width,
                           .sequences = sequences.data(),
                           .num_sequences = std::int32_t(sequences.size()),
                           .pool = pool_.data(),
                           .layout = layout_,
                           .layer = 1,
                           .own = view});

    std::vector<float> rounded(q.size()), q_scale(std::size_t(rows) * std::size_t(s_.q_heads));
    std::vector<std::int8_t> q_int(q.size());
    const bool ints = s_.type == dtype::i8;
    gpu::act_view act{.f = rounded.data()};
    if (ints) act = {.q = q_int.data(), .scale = q_scale.data(), .scale_group = s_.head_dim};
    ops_.quantise(
        team_,
        {.x = q.data(), .rows = rows, .cols = std::int32_t(q_width), .round_bf16 = s_.type == dtype::bf16, .out = act});

    const auto heads = std::size_t(rows) * std::size_t(s_.q_heads), width = std::size_t(s_.head_dim);
    const auto attend = [&](std::int32_t first, std::int32_t last, std::int32_t parts, std::vector<float>& m,
                            std::vector<float>& l, std::vector<float>& o) {
      m.assign(heads * std::size_t(parts), 7), l = m, o.assign(m.size() * width, 7);
      ops_.attend(team_, {.q = act,
                          .num_q_heads = s_.q_heads,
                          .sequences = sequences.data(),
                          .num_sequences = std::int32_t(sequences.size()),
                          .pool = pool_.data(),
                          .layout = layout_,
                          .layer = 1,
                          .own = view,
                          .first_segment = first,
                          .last_segment = last,
                          .num_parts = parts,
                          .m = m.data(),
                          .l = l.data(),
                          .o = o.data()});
    };
    std::vector<float> m, l, o, y(heads * width);
    std::int32_t parts = 1;
    if (split == 0)
      attend(0, INT32_MAX, 1, m, l, o);
    else {
      const auto segments = (reach - 1) / gpu::segment_tokens + 1;
      const auto later = std::max(1, segments - split);
      std::vector<float> m0, l0, o0, m1, l1, o1;
      attend(0, split, 1, m0, l0, o0);
      attend(split, split + later, later, m1, l1, o1);
      parts = 1 + later;
      for (std::size_t h = 0; h < heads; ++h) { // the parts of a head side by side
        const auto from = std::ptrdiff_t(h) * later, n = std::ptrdiff_t(later), w = std::ptrdiff_t(width);
        m.push_back(m0[h]), m.insert(m.end(), m1.begin() + from, m1.begin() + from + n);
        l.push_back(l0[h]), l.insert(l.end(), l1.begin() + from, l1.begin() + from + n);
        o.insert(o.end(), o0.begin() + std::ptrdiff_t(h) * w, o0.begin() + std::ptrdiff_t(h + 1) * w);
        o.insert(o.end(), o1.begin() + from * w, o1.begin() + (from + n) * w);
      }
    }
    ops_.merge(team_, {.m = m.data(),
                       .l = l.data(),
                       .o = o.data(),
                       .tokens = rows,
                       .heads = s_.q_heads,
                       .num_parts = parts,
                       .head_dim = s_.head_dim,
                       .y = y.data()});
    return y;
  }

private:
  shape s_;
  gpu::kv_layout layout_;
  const gpu::ops_table& ops_;
  gpu::team& team_;
  gpu::aligned_bytes pool_;
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
