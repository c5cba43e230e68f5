// gpu/cpu/simd/attention_plan.inl: how one call of attend is shared out.
//
//   chunk    rows of one sequence whose positions lie in one block: all see the same blocks sealed and the same one open
//   cluster  chunks whose sequences begin with the same blocks (samples of one prompt, a shared prefix): their queries
//            meet each of those blocks together, so it is read once
//   item     (cluster, KV heads, segments): what one thread does
//   plan     long sequences are cut at segments' borders where there would be too few items; then each segment's result
//            waits in memory, and they fold left afterwards (or stay apart, where the first segment is elsewhere)

namespace quadrant::gpu::simd {
namespace {

constexpr std::int32_t queries_per_item = 256; ///< their sums, [256, D] floats, stay in L2
constexpr std::int32_t queries_in_l1 = 48,     ///< of a KV head, whose sums stay in L1 while tiles pass
    few_queries = 12;                          ///< of a KV head: bound by reading K and V
constexpr std::int32_t blocks_per_segment = segment_tokens / block_tokens;

struct chunk {
  std::int32_t sequence, first_row, num_rows, own_block;
};
struct cluster {
  std::int32_t first_chunk, num_chunks, num_rows;
  std::int32_t shared_blocks; ///< the first ones, the same for all its chunks and sealed for all
  std::int32_t segments;      ///< the end of those that its rows reach and that are here
  std::int64_t first_record;  ///< where the results of its segments wait to be folded; -1: it is not cut
};
struct attend_item {
  std::int32_t cluster, first_head, num_heads, first_segment, end_segment;
};

/// How a call's work is shared out. In the caller's scratch memory.
struct attend_plan {
  const chunk* chunks;
  const cluster* clusters;
  const attend_item* items;
  std::int64_t num_clusters, num_items;
  std::int64_t num_records; ///< one a query and segment of the clusters that are cut
};

/// How many first blocks two sequences have in common.
std::int32_t common_blocks(const sequence_rows& a, const sequence_rows& b, std::int32_t most) {
  std::int32_t n = 0;
  while (n < most && a.blocks[n] == b.blocks[n]) ++n;
  return n;
}

/// Chunks, those of one shared prefix side by side, and the clusters that they make.
std::int64_t find_clusters(const attend_args& a, std::int32_t rows_each, const chunk** chunk_list,
                           cluster** cluster_list) {
  const auto shared_heads = a.num_q_heads / a.layout.num_kv_heads;
  std::int64_t most = 0;
  for (std::int32_t i = 0; i < a.num_sequences; ++i) {
    const auto& seq = a.sequences[i];
    most += seq.num_rows / std::min(rows_each, block_tokens) + 2 + seq.num_rows / block_tokens;
  }
  auto* chunks = scratch<chunk>(slot::chunks, most);
  auto* clusters = scratch<cluster>(slot::clusters, most);
  std::int64_t num_chunks = 0, num_clusters = 0;
  for (std::int32_t i = 0; i < a.num_sequences; ++i) {
    const auto& seq = a.sequences[i];
    if (seq.first_segment >= seq.end_segment) continue;
    for (std::int32_t r = 0, n = 0; r < seq.num_rows; r += n) {
      const auto position = seq.first_position + r;
      n = std::min({rows_each, seq.num_rows - r, block_tokens - position % block_tokens});
      chunks[num_chunks++] = {i, seq.first_row + r, n, position / block_tokens};
    }
  }
  std::sort(chunks, chunks + num_chunks,
            [&](const chunk& x, const chunk& y) { // a total order: sort is as good as stable
              const auto x0 = a.sequences[x.sequence].blocks[0], y0 = a.sequences[y.sequence].blocks[0];
              return x0 != y0 ? x0 < y0 : x.first_row < y.first_row;
            });
  for (std::int64_t c = 0; c < num_chunks; ++c) {
    const auto& next = chunks[c];
    if (num_clusters > 0 && next.num_rows * shared_heads <= few_queries) { // a large chunk has queries enough
      auto& last = clusters[num_clusters - 1];
      const auto& begin = chunks[last.first_chunk];
      const auto common = common_blocks(a.sequences[begin.sequence], a.sequences[next.sequence],
                                        std::min(last.shared_blocks, next.own_block));
      const bool alike = a.sequences[begin.sequence].first_segment == a.sequences[next.sequence].first_segment &&
                         a.sequences[begin.sequence].end_segment == a.sequences[next.sequence].end_segment;
      const bool fits = (last.num_rows + next.num_rows) * shared_heads <= queries_per_item;
      if (begin.sequence != next.sequence && alike && fits && 2 * common >= last.shared_blocks && common > 0) {
        ++last.num_chunks;
        last.num_rows += next.num_rows;
        last.shared_blocks = common;
        continue;
      }
    }
    clusters[num_clusters++] = {std::int32_t(c), 1, next.num_rows, next.own_block, 0, -1};
  }
  *chunk_list = chunks;
  *cluster_list = clusters;
  return num_clusters;
}

/// Positions times queries: what an item costs, in products of D.
std::int64_t pairs_of(const attend_args& a, const chunk* chunks, const cluster& c) {
  std::int64_t blocks = 0;
  for (std::int32_t i = c.first_chunk; i < c.first_chunk + c.num_chunks; ++i) {
    const auto& seq = a.sequences[chunks[i].sequence];
    const auto first = std::int64_t(seq.first_segment) * blocks_per_segment,
               end = std::min(chunks[i].own_block + 1L, std::int64_t(seq.end_segment) * blocks_per_segment);
    blocks += std::max(0L, end - first) * chunks[i].num_rows;
  }
  return blocks * block_tokens * (a.num_q_heads / a.layout.num_kv_heads);
}

/// The end of the segments that the rows of a cluster reach.
std::int32_t segments_of(const attend_args& a, const chunk* chunks, const cluster& c) {
  std::int32_t most = 0;
  for (std::int32_t i = c.first_chunk; i < c.first_chunk + c.num_chunks; ++i)
    most = std::max(most, chunks[i].own_block / blocks_per_segment + 1);
  return std::min(most, a.sequences[chunks[c.first_chunk].sequence].end_segment);
}

attend_plan plan(const team& t, const attend_args& a) {
  const auto heads = a.layout.num_kv_heads, shared_heads = a.num_q_heads / heads;
  const auto enough = t.num_threads() == 1 ? 1 : 4 * std::int64_t(t.num_threads());
  attend_plan p{};
  cluster* clusters = nullptr;
  for (const std::int32_t n : {64, 32, 16, 8}) { // fewer rows a chunk where there would be too few items
    p.num_clusters = find_clusters(a, std::max(1, std::min(n, queries_per_item / shared_heads)), &p.chunks, &clusters);
    if (p.num_clusters * heads >= enough) break;
  }
  p.clusters = clusters;
  if (p.num_clusters == 0) return p;
  const auto first_of = [&](const cluster& c) { return a.sequences[p.chunks[c.first_chunk].sequence].first_segment; };
  const auto few = [&](const cluster& c) { return c.num_rows * shared_heads <= few_queries; };
  std::int32_t longest = 1; // of those with few queries: the others are many items by themselves
  std::int64_t wide = 0;    // items, were every cluster of few queries one
  std::int32_t full = 1;    // of the longest one's segments: the last may be short
  for (std::int64_t c = 0; c < p.num_clusters; ++c) {
    clusters[c].segments = segments_of(a, p.chunks, clusters[c]);
    if (few(clusters[c])) {
      const auto first = first_of(clusters[c]);
      longest = std::max(longest, clusters[c].segments - first);
      full = std::max(full,
                      std::min(clusters[c].segments, p.chunks[clusters[c].first_chunk].own_block / blocks_per_segment) -
                          first);
    }
    wide += few(clusters[c]) ? 1 : heads;
  }
  // Too few: cut at segments' borders first, then between heads, but no further than where threads have as many each:
  // the heads of a block are one piece of memory.
  std::int32_t pieces = 1, heads_each = heads;
  if (wide < enough) pieces = std::int32_t(std::min<std::int64_t>(longest, (enough + wide - 1) / wide));
  const auto each = (longest + pieces - 1) / pieces;
  const auto even = [&] { // of one sequence: several may be of any lengths
    return wide == 1 && full >= each && full / each * (heads / heads_each) % t.num_threads() == 0;
  };
  while (wide * pieces * (heads / heads_each) < enough && heads_each > 1 && !even()) heads_each = (heads_each + 1) / 2;
  auto* items = scratch<attend_item>(slot::blocks, p.num_clusters * heads * pieces);
  for (std::int64_t c = p.num_clusters - 1; c >= 0; --c) { // the longest rows of a prompt first
    const bool is_few = few(clusters[c]);
    const auto first = first_of(clusters[c]), last = clusters[c].segments;
    if (first >= last) continue; // none of its rows is that far
    const bool cut = pieces > 1 && is_few && last - first > each;
    if (cut && first == 0) {
      clusters[c].first_record = p.num_records;
      p.num_records += std::int64_t(clusters[c].num_rows) * a.num_q_heads * clusters[c].segments;
    }
    const auto run = is_few ? heads_each : 1;
    for (std::int32_t head = 0; head < heads; head += run) {
      const auto num_heads = std::min(run, heads - head);
      const auto step = cut ? each : last - first;
      for (auto begin = first; begin < last; begin += step)
        items[p.num_items++] = {std::int32_t(c), head, num_heads, begin, std::min(last, begin + step)};
    }
  }
  p.items = items;
  return p;
}

} // namespace
} // namespace quadrant::gpu::simd
