// kv_append and attend over whole lives of sequences: every back-end, any chunks, any company.
#include <cmath>
#include <numeric>

#include "test/gpu/kv_world.hpp"

namespace quadrant::test {
namespace {

std::vector<std::int32_t> random_chunks(op_data& d, std::int32_t length, std::int32_t most) {
  std::vector<std::int32_t> chunks;
  for (std::int32_t done = 0; done < length; done += chunks.back())
    chunks.push_back(std::min(length - done, d.between(1, most)));
  return chunks;
}

shape random_shape(op_data& d, bool unsound) {
  const auto kv_heads = d.between(1, 2), head_dim = d.one_of({8, 16, 16, 32, 48, 64});
  const auto value_dim = d.below(3) == 0 ? d.one_of({8, 16, 32, 48}) : head_dim;
  return {kv_heads * d.between(1, 3),
          kv_heads,
          head_dim,
          value_dim,
          d.one_of({dtype::i8, dtype::i8, dtype::f32, dtype::bf16}),
          unsound};
}

std::int32_t random_length(op_data& d) {
  return d.one_of({1, 2, 5, 63, 64, 65, 127, 128, 129, d.between(1, 150), d.between(1, 150)});
}

} // namespace

TEST_CASE("attention") {
  property(
      "every back-end gives the reference's bits, in its answers and in the pool",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto s = random_shape(d, d.below(3) == 0);
        const life one(d, s, random_length(d));
        const auto chunks = random_chunks(d, one.length, d.one_of({20, 70, 200}));
        every_back_end_agrees(
            [&](const gpu::ops_table& ops, gpu::team& team) { return live(one, chunks, s, ops, team); });
      },
      30);

  property(
      "any chunks of a sequence give the bits of one chunk, and leave the same pool",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto s = random_shape(d, false);
        const life one(d, s, random_length(d));
        for (const auto isa : gpu::available_isas()) {
          const auto& ops = *gpu::ops_for(isa).value();
          const auto whole = live(one, {one.length}, s, ops, team_of(3));
          RC_ASSERT(live(one, random_chunks(d, one.length, d.one_of({3, 70, 100})), s, ops, team_of(3)) == whole);
        }
      },
      30);

  property(
      "company changes nothing",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto s = random_shape(d, false);
        const life a(d, s, random_length(d)), b(d, s, random_length(d));
        const auto a_chunks = random_chunks(d, a.length, 60), b_chunks = random_chunks(d, b.length, 60);
        for (const auto isa : gpu::available_isas()) {
          const auto& ops = *gpu::ops_for(isa).value();
          const auto alone = live(a, a_chunks, s, ops, team_of(1));
          kv_world world(s, blocks_of(a.length) + blocks_of(b.length), ops, team_of(3));
          std::vector<std::int32_t> a_blocks(std::size_t(blocks_of(a.length))),
              b_blocks(std::size_t(blocks_of(b.length)));
          std::iota(a_blocks.begin(), a_blocks.end(), blocks_of(b.length));
          std::iota(b_blocks.begin(), b_blocks.end(), 0);
          outcome together;
          std::int32_t a_first = 0, b_first = 0;
          for (std::size_t n = 0; n < a_chunks.size(); ++n) {
            std::vector<piece> pieces;
            if (n < b_chunks.size()) pieces.push_back({&b, b_first, b_chunks[n], &b_blocks}), b_first += b_chunks[n];
            pieces.push_back({&a, a_first, a_chunks[n], &a_blocks});
            const auto y = world.step(pieces);
            together.f.insert(together.f.end(), y.end() - std::ptrdiff_t(a_chunks[n]) * s.q_heads * s.value_dim,
                              y.end());
            a_first += a_chunks[n];
          }
          RC_ASSERT(together == outcome{.f = alone.f});
        }
      },
      20);

  property(
      "sequences that begin with the same blocks have the answers they have alone",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto s = random_shape(d, d.below(4) == 0);
        const bool long_ones = d.below(4) == 0; // more than one segment
        const auto shared_blocks = long_ones ? d.between(14, 19) : d.between(1, 3);
        const auto shared = shared_blocks * block_tokens, num = d.between(2, 5);
        const life prefix(d, s, shared);
        std::vector<life> lives;
        std::vector<std::vector<std::int32_t>> blocks;
        std::int32_t used = shared_blocks;
        for (std::int32_t n = 0; n < num; ++n) {
          life one(d, s, shared + d.one_of({1, 2, 60, 64, 65, 100}));
          for (auto [to, from] : {std::pair{&one.q, &prefix.q}, {&one.k, &prefix.k}, {&one.v, &prefix.v}})
            std::ranges::copy(*from, to->begin());
          std::vector<std::int32_t> mine(std::size_t(blocks_of(one.length)));
          std::iota(mine.begin(), mine.begin() + shared_blocks, 0);
          std::iota(mine.begin() + shared_blocks, mine.end(), used);
          used += blocks_of(one.length) - shared_blocks;
          lives.push_back(std::move(one));
          blocks.push_back(std::move(mine));
        }
        const auto each = d.one_of({1, 1, 3, 70});
        for (const auto isa : gpu::available_isas()) {
          if (long_ones && isa == gpu::isa::scalar) continue; // its rows do not meet
          const auto& ops = *gpu::ops_for(isa).value();
          kv_world world(s, used, ops, team_of(3));
          for (std::int32_t first = 0; first < shared; first += 256)
            world.step({{&lives[0], first, std::min(256, shared - first), &blocks[0]}});
          std::vector<outcome> together(lives.size()), alone(lives.size());
          std::vector<std::int32_t> done(lives.size(), shared);
          for (bool more = true; more;) {
            std::vector<piece> pieces;
            std::vector<std::size_t> whose;
            for (std::size_t n = 0; n < lives.size(); ++n)
              if (const auto rows = std::min(each, lives[n].length - done[n]); rows > 0) {
                pieces.push_back({&lives[n], done[n], rows, &blocks[n]});
                whose.push_back(n);
                done[n] += rows;
              }
            more = !pieces.empty();
            if (!more) break;
            auto y = world.step(pieces);
            for (std::size_t i = 0, at = 0; i < pieces.size(); ++i) {
              const auto size = std::size_t(pieces[i].num) * std::size_t(s.q_heads * s.value_dim);
              auto& f = together[whose[i]].f;
              f.insert(f.end(), y.begin() + std::ptrdiff_t(at), y.begin() + std::ptrdiff_t(at + size));
              at += size;
            }
          }
          for (std::size_t n = 0; n < lives.size(); ++n) {
            kv_world own(s, used, ops, team_of(1));
            for (std::int32_t first = 0; first < shared; first += 256)
              own.step({{&lives[n], first, std::min(256, shared - first), &blocks[n]}});
            for (std::int32_t first = shared; first < lives[n].length; first += each) {
              const auto y = own.step({{&lives[n], first, std::min(each, lives[n].length - first), &blocks[n]}});
              alone[n].f.insert(alone[n].f.end(), y.begin(), y.end());
            }
            RC_ASSERT(together[n] == alone[n]);
          }
        }
      },
      25);

  property(
      "f32 attention is softmax(q k) v",
      [](std::uint64_t seed) {
        op_data d(seed);
        const shape s{2, 1, 16, 16, dtype::f32};
        life one(d, s, d.between(1, 200));
        for (auto* list : {&one.q, &one.k, &one.v})
          for (auto& x : *list) x = std::clamp(x, -2.0f, 2.0f);
        for (const auto isa : gpu::available_isas()) {
          const auto got = live(one, random_chunks(d, one.length, 90), s, *gpu::ops_for(isa).value(), team_of(1)).f;
          const auto t = d.below(one.length), h = d.below(2);
          std::vector<double> p;
          double sum = 0;
          for (std::int32_t j = 0; j <= t; ++j) {
            double dot = 0;
            for (std::int32_t i = 0; i < 16; ++i)
              dot += double(one.q[std::size_t((t * 2 + h) * 16 + i)]) * double(one.k[std::size_t(j * 16 + i)]);
            p.push_back(std::exp(dot));
            sum += p.back();
          }
          for (std::int32_t i = 0; i < 16; ++i) {
            double expected = 0;
            for (std::int32_t j = 0; j <= t; ++j)
              expected += p[std::size_t(j)] / sum * double(one.v[std::size_t(j * 16 + i)]);
            RC_ASSERT(std::abs(double(got[std::size_t((t * 2 + h) * 16 + i)]) - expected) < 1e-4);
          }
        }
      },
      20);

  property(
      "i8 attention is close to f32 attention, sealed blocks included",
      [](std::uint64_t seed) {
        op_data d(seed);
        shape s{2, 1, 32, 32, dtype::f32};
        life one(d, s, d.between(65, 200));
        for (auto* list : {&one.q, &one.k, &one.v})
          for (auto& x : *list) x = std::clamp(x, -1.0f, 1.0f);
        const auto exact = live(one, {one.length}, s, reference_ops(), team_of(1)).f;
        s.type = dtype::i8;
        const auto got = live(one, {one.length}, s, reference_ops(), team_of(1)).f;
        double error = 0, size = 0;
        for (std::size_t n = 0; n < got.size(); ++n)
          error += std::pow(double(got[n] - exact[n]), 2), size += std::pow(double(exact[n]), 2);
        RC_ASSERT(error < 0.01 * size);
      },
      10);
}

TEST_CASE("a score far below the best, beside V so large that it still counts, is the same on every back-end") {
  const shape s{1, 1, 16, 16, dtype::i8};
  op_data d(9);
  life one(d, s, 2);
  for (auto* list : {&one.q, &one.k, &one.v}) std::ranges::fill(*list, 0.0f);
  one.q[16] = 10, one.k[0] = 20; // the second query: 200 for the first key, 0 for its own
  for (std::size_t i = 16; i < 32; ++i) one.v[i] = 1.4e8f;
  outcome expected;
  for (const auto isa : gpu::available_isas()) {
    const outcome got{.f = live(one, {2}, s, *gpu::ops_for(isa).value(), team_of(1)).f};
    if (expected.f.empty()) expected = got;
    CHECK_MESSAGE(got == expected, gpu::ops_for(isa).value()->name);
  }
  CHECK(expected.f[16] > 0); // tiny, and there
}

TEST_CASE("segments fold the same on one worker and split over several, on every back-end") {
  const auto& fast = *gpu::choose_ops().value();
  const std::vector<std::vector<std::int32_t>> splits = {{},     {1},    {2},    {0},       {3},
                                                         {1, 2}, {0, 1}, {1, 1}, {0, 0, 2}, {1, 2, 3}};
  for (const auto type : {dtype::i8, dtype::f32, dtype::bf16})
    for (const std::int32_t length : {1023, 1024, 1025, 2049, 2100}) {
      op_data d{std::uint64_t(length)};
      const shape s{2, 1, 16, 16, type};
      const life one(d, s, length);
      const std::int32_t last = 3; // of the rows, whose answers are compared
      std::vector<std::int32_t> blocks(std::size_t(blocks_of(length)));
      std::iota(blocks.begin(), blocks.end(), 0);
      outcome expected;
      for (const auto& ends : splits) {
        kv_world past(s, blocks_of(length), fast, team_of(3), ends.size() + 1);
        for (std::int32_t first = 0; first < length - last; first += 256)
          past.step({{&one, first, std::min(256, length - last - first), &blocks, ends}});
        for (const auto isa : gpu::available_isas()) {
          kv_world here(s, blocks_of(length), *gpu::ops_for(isa).value(), team_of(3), ends.size() + 1);
          for (std::size_t w = 0; w <= ends.size(); ++w)
            std::copy_n(past.pool(w).data(), past.pool(w).size(), here.pool(w).data());
          const outcome got{.f = here.step({{&one, length - last, last, &blocks, ends}})};
          if (expected.f.empty()) expected = got;
          CHECK_MESSAGE(got == expected, gpu::ops_for(isa).value()->name << " " << to_string(type) << " " << length
                                                                         << ", split " << &ends - splits.data());
        }
      }
    }
}

TEST_CASE("sequences that are split in different places share a step, and have the answers they have alone") {
  const auto& fast = *gpu::choose_ops().value();
  op_data d(4);
  const shape s{4, 2, 32, 32, dtype::i8};
  const std::vector<life> lives = {{d, s, 2060}, {d, s, 1030}, {d, s, 70}, {d, s, 1500}};
  const std::vector<std::vector<std::int32_t>> ends = {{1, 2}, {0, 1}, {0, 0}, {2, 2}};
  std::int32_t used = 0;
  std::vector<std::vector<std::int32_t>> blocks;
  for (const auto& one : lives) {
    auto& mine = blocks.emplace_back(std::size_t(blocks_of(one.length)));
    std::iota(mine.begin(), mine.end(), used);
    used += blocks_of(one.length);
  }
  kv_world split(s, used, fast, team_of(3), 3), whole(s, used, fast, team_of(3));
  std::vector<piece> last;
  std::vector<float> alone;
  for (std::size_t n = 0; n < lives.size(); ++n) {
    const auto past = lives[n].length - 1;
    for (std::int32_t first = 0; first < past; first += 256)
      for (auto* world : {&split, &whole})
        world->step({{&lives[n], first, std::min(256, past - first), &blocks[n],
                      world == &split ? ends[n] : std::vector<std::int32_t>{}}});
    last.push_back({&lives[n], past, 1, &blocks[n], ends[n]});
    const auto y = whole.step({{&lives[n], past, 1, &blocks[n]}});
    alone.insert(alone.end(), y.begin(), y.end());
  }
  CHECK(split.step(last) == alone);
}

TEST_CASE("a NaN reaches the answers that see it, and no earlier ones") {
  for (const auto type : {dtype::i8, dtype::f32, dtype::bf16})
    for (const auto isa : gpu::available_isas())
      for (const bool in_k : {true, false}) {
        op_data d(5);
        const shape s{1, 1, 16, 16, type};
        life one(d, s, 150);
        for (auto* list : {&one.k, &one.v, &one.q}) // nothing so far away that its weight is 0
          for (auto& x : *list) x = std::clamp(x, -1.0f, 1.0f) * 0.1f;
        (in_k ? one.k : one.v)[70 * 16 + 3] = nan_f32;
        const auto y = live(one, {60, 60, 30}, s, *gpu::ops_for(isa).value(), team_of(3)).f;
        for (std::int32_t t = 0; t < 150; ++t)
          CHECK((y[std::size_t(t) * 16 + 3] != y[std::size_t(t) * 16 + 3]) == (t >= 70));
      }
}

} // namespace quadrant::test
