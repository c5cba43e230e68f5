// gpu/cpu/simd/attention.inl: attend, merge: rule 8. attention_plan.inl says which queries a thread takes.
//
//   many queries of a KV head   a tile of them goes through the segment with its sums in L1; K and V come from L2 for all
//                               tiles but the first
//   up to 48                    all of them meet a block before the next, which is fetched meanwhile
//   up to 12                    all KV heads of a block after each other, because they lie side by side in memory
// Source  gpu/cpu/reference/attention.cpp

namespace quadrant::gpu::simd {
namespace {

/// How a segment joins what is there: o = fma(new, b, o * a).
struct folding {
  float a, b;
};
struct running {
  float m, l;
};
folding fold(running& s, const running& part) {
  const float m = part.m > s.m ? part.m : s.m;
  float factor[16];
  store(factor, exp_f32(pick(first(1), all(s.m - m), all(part.m - m))));
  s = {m, __builtin_fmaf(part.l, factor[1], s.l * factor[0])};
  return {factor[0], factor[1]};
}
QUADRANT_WORD void join(float* o, f32x16 x, const folding& f, int some = 16) {
  store(o, fma(x, all(f.b), mul(load(o, some), all(f.a))), some);
}

/// One item: its queries over its segments.
class attending {
public:
  /// records: where the results of segments wait.
  attending(const attend_args& a, const attend_plan& p, const attend_item& item, float* records)
      : a_(a), plan_(p), cluster_(p.clusters[item.cluster]),
        item_(item), dim_{a.layout.key_dim(), a.layout.value_dim()},
        shared_heads_(a.num_q_heads / a.layout.num_kv_heads), queries_of_head_(cluster_.num_rows * shared_heads_),
        num_queries_(queries_of_head_ * item.num_heads), here_(a.sequences[chunk_of(0).sequence].first_segment),
        apart_(cluster_.first_record < 0 ? nullptr : records) {
    ready_queries();
  }

  void run() {
    for (auto segment = item_.first_segment; segment < item_.end_segment; ++segment) {
      begin(segment);
      attend(segment);
      leave(segment);
    }
  }

  /// Floats of one (row, head, segment) that waits: m, l, o.
  static std::int64_t record_floats(std::int32_t value_dim) { return value_dim + 16; }

private:
  void ready_queries() {
    const auto n = num_queries_ + 16;
    auto* room = scratch<std::byte>(slot::queries, std::int64_t(n) * 64);
    const auto take = [&](auto*& list) {
      list = reinterpret_cast<std::remove_reference_t<decltype(list)>>(room);
      room += std::ptrdiff_t(n) * std::ptrdiff_t(sizeof(*list));
    };
    take(s_.q), take(s_.o), take(s_.at), take(s_.scale), take(s_.correction), take(s_.position), take(s_.m), take(s_.l);
    own_o_ = scratch<float>(slot::outputs, std::int64_t(num_queries_) * dim_.value);
    const bool ints = a_.layout.type() == dtype::i8;
    std::int32_t i = 0;
    for (std::int32_t head = item_.first_head; head < item_.first_head + item_.num_heads; ++head)
      for (std::int32_t c = 0; c < cluster_.num_chunks; ++c)
        for (std::int32_t r = 0; r < chunk_of(c).num_rows; ++r)
          for (std::int32_t h = 0; h < shared_heads_; ++h, ++i) {
            const auto& seq = a_.sequences[chunk_of(c).sequence];
            const auto row = chunk_of(c).first_row + r;
            const auto q_head = head * shared_heads_ + h;
            s_.at[i] = std::int64_t(a_.parts[row]) * a_.num_q_heads + q_head;
            s_.position[i] = seq.first_position + row - seq.first_row;
            ready_query(i, std::int64_t(row) * a_.num_q_heads + q_head, ints);
          }
  }

  void ready_query(std::int32_t i, std::int64_t at, bool ints) {
    if (ints) {
      const auto* q = a_.q.q + at * dim_.key;
      s_.q[i] = reinterpret_cast<const std::byte*>(q);
      s_.scale[i] = a_.q.scale[at];
      s_.correction[i] = i8_weights::offset == 0 ? 0 : i8_weights::offset * sum_bytes(q, dim_.key);
    } else {
      s_.q[i] = reinterpret_cast<const std::byte*>(a_.q.f + at * dim_.key);
    }
  }

  const chunk& chunk_of(std::int32_t c) const { return plan_.chunks[cluster_.first_chunk + c]; }

  /// Where the segment's sums of query i are made: in their own place where it has one to itself.
  float* place(std::int32_t i, std::int32_t segment) const {
    if (apart_ != nullptr) return record(i, segment) + 16;
    if (here_ > 0 || segment == 0) return a_.o + part(i, segment) * dim_.value;
    return own_o_ + std::ptrdiff_t(i) * dim_.value;
  }
  /// Its place among the parts.
  std::int64_t part(std::int32_t i, std::int32_t segment) const {
    return s_.at[i] + (here_ == 0 ? 0 : std::int64_t(segment - here_) * a_.num_q_heads);
  }
  float* record(std::int32_t i, std::int32_t segment) const {
    const auto query = std::int64_t(item_.first_head) * queries_of_head_ + i; // of the cluster, head by head
    return apart_ + (cluster_.first_record + query * cluster_.segments + segment) * record_floats(dim_.value);
  }

  void begin(std::int32_t segment) {
    for (std::int32_t i = 0; i < num_queries_; ++i) {
      s_.m[i] = -inf_f32, s_.l[i] = 0;
      if (reaches(i, segment)) s_.o[i] = place(i, segment);
    }
  }
  bool reaches(std::int32_t i, std::int32_t segment) const { return s_.position[i] / segment_tokens >= segment; }

  void attend(std::int32_t segment) {
    const auto first = segment * blocks_per_segment, end = first + blocks_per_segment;
    const bool ints = a_.layout.type() == dtype::i8;
    const auto shared = ints ? std::min(end, cluster_.shared_blocks) : 0;
    const auto& any_sequence = a_.sequences[chunk_of(0).sequence];
    if (first < shared) sealed_blocks(any_sequence, first, shared, first, 0, queries_of_head_);
    for (std::int32_t c = 0, q0 = 0; c < cluster_.num_chunks; ++c) {
      const auto& piece = chunk_of(c);
      const auto& seq = a_.sequences[piece.sequence];
      const auto n = piece.num_rows * shared_heads_, own = piece.own_block;
      const auto rest = std::max(first, shared);
      if (ints && rest < std::min(own, end)) sealed_blocks(seq, rest, std::min(own, end), first, q0, n);
      for (auto block = ints ? std::max(own, first) : first; block < std::min(own + 1, end); ++block)
        for (std::int32_t h = 0; h < item_.num_heads; ++h) {
          const auto tile = turned_tile(a_, seq, item_.first_head + h, block, block == own);
          by_tiles(n, [&](std::int32_t q, auto num_rows) {
            const auto at = h * queries_of_head_ + q0 + q;
            if (ints)
              int_queries<num_rows()>(s_, at, tile, dim_, block == first, {});
            else
              float_queries<num_rows()>(s_, at, tile, dim_, block == first);
          });
        }
      q0 += n;
    }
  }

  /// Queries [q0, q0 + n) of each head over sealed blocks [begin, end) of a segment that begins with block `first`.
  void sealed_blocks(const sequence_rows& seq, std::int32_t begin, std::int32_t end, std::int32_t first,
                     std::int32_t q0, std::int32_t n) {
    if (queries_of_head_ > queries_in_l1)
      return by_tiles(n, [&](std::int32_t q, auto num_rows) {
        for (auto block = begin; block < end; ++block)
          int_queries<num_rows()>(s_, q0 + q, sealed_tile(a_, seq, item_.first_head, block), dim_, block == first, {});
      });
    const auto tiles = (n + tile_rows - 1) / tile_rows;
    const auto lines = std::uint32_t(a_.layout.slice_bytes() / 64) / std::uint32_t(tiles);
    auto tile = sealed_tile(a_, seq, item_.first_head, begin);
    for (auto block = begin; block < end; ++block)
      for (std::int32_t h = 0; h < item_.num_heads; ++h) {
        auto next = tile;
        if (h + 1 < item_.num_heads)
          next = sealed_tile(a_, seq, item_.first_head + h + 1, block);
        else if (block + 1 < end)
          next = sealed_tile(a_, seq, item_.first_head, block + 1);
        fetch_ahead ahead{.from = next.k, .lines = lines};
        by_tiles(n, [&](std::int32_t q, auto num_rows) {
          const auto at = h * queries_of_head_ + q0 + q;
          if (tiles == 1)
            int_queries_streamed<num_rows()>(s_, at, tile, dim_, block == first, next.k);
          else
            int_queries<num_rows()>(s_, at, tile, dim_, block == first, ahead);
          ahead.from += std::size_t(lines) * 64;
        });
        tile = next;
      }
  }

  /// Puts the segment's result where it belongs, unless it was made there.
  void leave(std::int32_t segment) {
    for (std::int32_t i = 0; i < num_queries_; ++i) {
      if (!reaches(i, segment)) continue;
      if (apart_ != nullptr) {
        record(i, segment)[0] = s_.m[i], record(i, segment)[1] = s_.l[i];
        continue;
      }
      const auto at = part(i, segment);
      running sofar{s_.m[i], s_.l[i]};
      if (here_ == 0 && segment > 0) {
        sofar = {a_.m[at], a_.l[at]};
        const auto f = fold(sofar, {s_.m[i], s_.l[i]});
        for (std::int32_t d = 0; d < dim_.value; d += 16) join(a_.o + at * dim_.value + d, load(s_.o[i] + d), f);
      }
      a_.m[at] = sofar.m, a_.l[at] = sofar.l;
    }
  }

  const attend_args& a_;
  const attend_plan& plan_;
  const cluster& cluster_;
  const attend_item& item_;
  head_dims dim_;
  std::int32_t shared_heads_, queries_of_head_, num_queries_;
  std::int32_t here_; ///< the first segment of its sequences that is in this pool
  float *apart_, *own_o_ = nullptr;
  query_set s_{};
};

/// Folds what waits of query `query` of a cluster (head by head), left to right, into its one part.
void fold_records(const attend_args& a, const attend_plan& p, const cluster& c, const float* records,
                  std::int64_t query) {
  const auto head_dim = a.layout.value_dim(), shared_heads = a.num_q_heads / a.layout.num_kv_heads;
  const auto of_head = std::int64_t(c.num_rows) * shared_heads;
  const auto kv_head = query / of_head;
  auto row = std::int32_t(query % of_head / shared_heads), in = c.first_chunk;
  for (; row >= p.chunks[in].num_rows; ++in) row -= p.chunks[in].num_rows;
  const auto& seq = a.sequences[p.chunks[in].sequence];
  row += p.chunks[in].first_row;
  const auto position = seq.first_position + row - seq.first_row;
  const auto at = std::int64_t(a.parts[row]) * a.num_q_heads + kv_head * shared_heads + query % shared_heads;
  const auto floats = attending::record_floats(head_dim);
  const auto* from = records + (c.first_record + query * c.segments) * floats;
  running sofar{from[0], from[1]};
  float* o = a.o + at * head_dim;
  __builtin_memcpy(o, from + 16, std::size_t(head_dim) * sizeof(float));
  const auto segments = std::min(seq.end_segment, position / segment_tokens + 1);
  for (std::int32_t segment = 1; segment < segments; ++segment) {
    from += floats;
    const auto f = fold(sofar, {from[0], from[1]});
    for (std::int32_t d = 0; d < head_dim; d += 16) join(o + d, load(from + 16 + d), f);
  }
  a.m[at] = sofar.m, a.l[at] = sofar.l;
}

void attend(team& t, const attend_args& a) {
  if (!a.layout.has_whole_panels()) return reference::attend(t, a);
  const auto p = plan(t, a);
  if (p.num_items == 0) return;
  std::int64_t pairs = 0;
  for (std::int64_t i = 0; i < p.num_clusters; ++i) pairs += pairs_of(a, p.chunks, p.clusters[i]);
  auto* records = scratch<float>(slot::segments, p.num_records * attending::record_floats(a.layout.value_dim()));
  const auto macs = (a.layout.key_dim() + a.layout.value_dim()) * pairs * a.layout.num_kv_heads / p.num_items;
  t.parallel(p.num_items, grain_for(macs, macs_worth_a_thread / 8), [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) attending(a, p, p.items[i], records).run();
  });
  for (std::int64_t i = 0; p.num_records > 0 && i < p.num_clusters; ++i) {
    const auto& c = p.clusters[i];
    if (c.first_record < 0) continue;
    t.parallel(std::int64_t(c.num_rows) * a.num_q_heads, grain_for(c.segments * a.layout.value_dim(), worth_a_thread),
               [&](std::int64_t begin, std::int64_t end) {
                 for (auto query = begin; query < end; ++query) fold_records(a, p, c, records, query);
               });
  }
}

/// One row and head.
void merge_one(const merge_args& a, std::int64_t item) {
  const auto row = item / a.heads, head = item % a.heads;
  const std::size_t bytes = std::size_t(a.head_dim) * sizeof(float);
  auto* o = scratch<float>(slot::row, a.head_dim);
  __builtin_memset(o, 0, bytes);
  running s{-inf_f32, 0};
  const auto take = [&](const float* m, const float* l, const float* from, std::int64_t at) {
    from += at * a.head_dim;
    if (s.m == -inf_f32 && s.l == 0) {
      s = {m[at], l[at]};
      __builtin_memcpy(o, from, bytes);
    } else if (m[at] != -inf_f32 || l[at] != 0) {
      const auto f = fold(s, {m[at], l[at]});
      by_16(a.head_dim, [&](std::int64_t d, int some) { join(o + d, load(from + d, some), f, some); });
    }
  };
  if (a.before.m != nullptr) take(a.before.m, a.before.l, a.before.o, item);
  for (auto part = a.parts[row]; part < a.parts[row + 1]; ++part) take(a.m, a.l, a.o, part * a.heads + head);
  if (a.y == nullptr) {
    a.after.m[item] = s.m, a.after.l[item] = s.l;
    __builtin_memcpy(a.after.o + item * a.head_dim, o, bytes);
    return;
  }
  by_16(a.head_dim,
        [&](std::int64_t d, int some) { store(a.y + item * a.head_dim + d, div(load(o + d, some), all(s.l)), some); });
}

void merge(team& t, const merge_args& a) {
  const auto cost = (1 + a.parts[a.tokens] / std::max(1, a.tokens)) * std::int64_t(a.head_dim);
  t.parallel(std::int64_t(a.tokens) * a.heads, grain_for(cost, worth_a_thread),
             [&](std::int64_t begin, std::int64_t end) {
               for (auto item = begin; item < end; ++item) merge_one(a, item);
             });
}

} // namespace
} // namespace quadrant::gpu::simd
