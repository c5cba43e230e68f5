#include "model/shard.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using quadrant::test::property;

namespace {

model_config config_of(std::int32_t layers, std::int32_t q_heads, std::int32_t kv_heads) {
  model_config c;
  c.num_layers = layers, c.num_q_heads = q_heads, c.num_kv_heads = kv_heads;
  c.head_dim = 64, c.hidden_size = 256, c.vocab_size = 4096;
  return c;
}

} // namespace

TEST_CASE("stage_of covers every layer once, in order, as evenly as can be") {
  property("for any layers and stages", [] {
    const auto layers = *rc::gen::inRange(1, 100);
    const auto stages = *rc::gen::inRange(1, layers + 1);
    const auto c = config_of(layers, 4, 2);
    std::int32_t next = 0, embeds = 0, samples = 0;
    for (std::int32_t rank = 0; rank < stages; ++rank) {
      const auto s = stage_of(c, rank, stages);
      RC_ASSERT(s.first_layer == next);
      RC_ASSERT(s.num_layers() == layers / stages + (rank < layers % stages ? 1 : 0));
      next = s.end_layer;
      const auto shape = shape_of(c, s);
      RC_ASSERT(shape.ok());
      embeds += shape->embeds, samples += shape->samples;
    }
    RC_ASSERT(next == layers);
    RC_ASSERT(embeds == 1);
    RC_ASSERT(samples == 1);
  });
}

TEST_CASE("tensor-parallel ranks share out heads, columns and vocabulary without rest") {
  property("for any degree that divides", [] {
    const auto kv_heads = 1 << *rc::gen::inRange(0, 4);
    const auto q_heads = kv_heads << *rc::gen::inRange(0, 3);
    const auto c = config_of(2, q_heads, kv_heads);
    std::int32_t tp = 1 << *rc::gen::inRange(0, 6);
    while (q_heads % tp != 0) tp /= 2;
    std::int32_t q = 0, hidden = 0, vocab = 0;
    std::vector<std::int32_t> kv_owners(std::size_t(kv_heads), 0);
    for (std::int32_t rank = 0; rank < tp; ++rank) {
      const auto shape = shape_of(c, {.first_layer = 0, .end_layer = 2, .tp_rank = rank, .tp = tp});
      RC_ASSERT(shape.ok());
      RC_ASSERT(shape->first_q_head == q);
      q += shape->q_heads, hidden += shape->hidden_part, vocab += shape->vocab_part;
      const auto group = q_heads / kv_heads; // query heads that read one KV head
      for (auto head = shape->first_q_head; head < shape->first_q_head + shape->q_heads; ++head) {
        RC_ASSERT(head / group >= shape->first_kv_head);
        RC_ASSERT(head / group < shape->first_kv_head + shape->kv_heads);
      }
      for (auto head = shape->first_kv_head; head < shape->first_kv_head + shape->kv_heads; ++head)
        ++kv_owners.at(std::size_t(head));
    }
    RC_ASSERT(q == q_heads);
    RC_ASSERT(hidden == c.hidden_size);
    RC_ASSERT(vocab == c.vocab_size);
    for (const auto owners : kv_owners) RC_ASSERT(owners == std::max(1, tp / kv_heads));
  });
}

TEST_CASE(
    "ranks that share heads by a split of their KV have the heads of one rank of fewer, and columns of their own") {
  property("for any split of a degree that divides", [] {
    const auto c = config_of(2, 8, 4);
    const auto split = 1 << *rc::gen::inRange(0, 4), head_ranks = 1 << *rc::gen::inRange(0, 4);
    for (std::int32_t rank = 0; rank < head_ranks * split; ++rank) {
      const shard_spec spec{
          .first_layer = 0, .end_layer = 2, .tp_rank = rank, .tp = head_ranks * split, .kv_split = split};
      const auto shape = *shape_of(c, spec);
      const auto heads = *shape_of(c, {.first_layer = 0, .end_layer = 2, .tp_rank = rank / split, .tp = head_ranks});
      RC_ASSERT(shape.first_q_head == heads.first_q_head && shape.q_heads == heads.q_heads);
      RC_ASSERT(shape.first_kv_head == heads.first_kv_head && shape.kv_heads == heads.kv_heads);
      RC_ASSERT(shape.hidden_part == c.hidden_size / spec.tp && shape.vocab_part == c.vocab_size / spec.tp);
      RC_ASSERT(spec.kv_rank() == rank % split);
      RC_ASSERT(spec.merges_last() == (rank % split == split - 1));
    }
  });
}

TEST_CASE("a degree that does not divide is told with both numbers") {
  const auto refused = [](const model_config& c, std::int32_t tp, std::int32_t split = 1) {
    const auto shape = shape_of(c, {.first_layer = 0, .end_layer = 2, .tp_rank = 0, .tp = tp, .kv_split = split});
    REQUIRE(!shape.ok());
    CHECK(shape.error().code == errc::invalid_argument);
    return shape.error().message;
  };
  CHECK(refused(config_of(2, 4, 2), 3) == "query heads of this model (4) do not divide by tp = 3");
  CHECK(refused(config_of(2, 12, 6), 4) == "KV heads of this model (6) neither divide by nor into tp = 4");
  CHECK(refused(config_of(2, 4, 2), 4, 3) == "kv_split = 3 does not divide tp = 4");
  CHECK(refused(config_of(2, 4, 2), 6, 2) == "query heads of this model (4) do not divide by tp / kv_split = 3");
  auto c = config_of(2, 4, 2);
  c.vocab_size = 4097;
  CHECK(refused(c, 2) == "vocabulary rows of this model (4097) do not divide by tp = 2");
}

TEST_CASE("the KV layout of a shard holds its own layers and heads") {
  const auto c = config_of(6, 4, 2);
  const shard_spec spec{.first_layer = 2, .end_layer = 5, .tp_rank = 1, .tp = 2};
  const auto layout = kv_layout_of(c, spec, *shape_of(c, spec), gpu::numerics_of(gpu::precision::w4a8), 7);
  CHECK(layout.num_blocks == 7);
  CHECK(layout.num_layers == 3);
  CHECK(layout.num_kv_heads == 1);
  CHECK(layout.key_dim() == 64);
  CHECK(layout.type() == gpu::dtype::i8);
}
