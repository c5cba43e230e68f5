#include <algorithm>
#include <future>
#include <numeric>

#include "gpu/backend.hpp"
#include "model/family.hpp"
#include "test/model/tiny_checkpoint.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

namespace {

constexpr std::int32_t max_tokens = 320;

/// One sequence on its way through: its tokens, how they are cut, and where its KV lies.
struct passage {
  std::vector<std::int32_t> tokens, chunks, blocks;
  std::vector<std::uint64_t> digests; ///< of the logits after each token
  std::vector<std::int32_t> sampled;
  std::size_t next_chunk = 0;
  std::int32_t done = 0;
};

/// One worker that serves the whole of a tiny model.
class worker {
public:
  worker(const std::shared_ptr<weight_cache>& weights, const gpu::ops_table& ops)
      : ops_(ops), shard_(load(*weights)), device_("test", {.num_threads = 2}), stream_(device_.make_stream()),
        frame_(shard_->config, shard_->numerics, shard_->spec, shard_->shape,
               {.tokens = 2 * max_tokens, .sequences = 2, .outputs = 2 * max_tokens}),
        pool_(shard_->kv.pool_bytes()), slots_(16) {}

  static constexpr std::int32_t num_blocks = 2 * (max_tokens / gpu::block_tokens + 1);

  /// Runs the passages side by side, a chunk of each a step, and fills in what comes out.
  void run(std::vector<passage*> passages, const gpu::sampling& sampling) {
    while (true) {
      batch step;
      std::vector<passage*> sources;
      for (auto* p : passages) {
        if (p->next_chunk == p->chunks.size()) continue;
        const auto rows = p->chunks[p->next_chunk++];
        const auto row = step.tokens(), end = p->done + rows;
        step.ids.insert(step.ids.end(), p->tokens.begin() + p->done, p->tokens.begin() + end);
        const auto num_blocks_now = (end + gpu::block_tokens - 1) / gpu::block_tokens;
        step.sequences.push_back({.num_rows = rows,
                                  .first_position = p->done,
                                  .blocks = {p->blocks.begin(), p->blocks.begin() + num_blocks_now}});
        for (std::int32_t i = 0; i < rows; ++i) {
          step.outputs.push_back({.row = row + i, .slot = -1, .sampling = sampling});
          sources.push_back(p);
        }
        p->done = end;
      }
      if (sources.empty()) return;
      std::promise<void> ended;
      enqueue(shard_->program, {.ops = &ops_, .f = &frame_, .kv_pool = pool_.data(), .token_slots = slots_.data()},
              std::move(step), *stream_, nullptr,
              {.previous = nullptr, .kv_ready = {}, .done = [&] { ended.set_value(); }});
      ended.get_future().wait();
      for (std::size_t i = 0; i < sources.size(); ++i) {
        sources[i]->digests.push_back(frame_.digests[i]);
        sources[i]->sampled.push_back(frame_.sampled[i]);
      }
    }
  }

private:
  static std::shared_ptr<const shard> load(weight_cache& weights) {
    auto loaded = load_shard(weights, {.first_layer = 0, .end_layer = tiny_checkpoint::num_layers}, num_blocks);
    REQUIRE_MESSAGE(loaded.ok(), loaded.error().message);
    return *loaded;
  }

  const gpu::ops_table& ops_;
  std::shared_ptr<const shard> shard_;
  gpu::device device_;
  std::shared_ptr<gpu::stream> stream_;
  frame frame_;
  gpu::aligned_bytes pool_;
  std::vector<std::int32_t> slots_;
};

std::vector<std::int32_t> random_tokens(std::int32_t size) {
  return *rc::gen::container<std::vector<std::int32_t>>(std::size_t(size), rc::gen::inRange(0, tiny_checkpoint::vocab));
}

/// `total` as a sum of chunks, often of one or few.
std::vector<std::int32_t> random_chunks(std::int32_t total) {
  std::vector<std::int32_t> chunks;
  while (total > 0) {
    const auto most = *rc::gen::elementOf(std::vector<std::int32_t>{1, 3, 64, 65, max_tokens});
    chunks.push_back(*rc::gen::inRange(1, std::min(most, total) + 1));
    total -= chunks.back();
  }
  return chunks;
}

void chunks_change_nothing(gpu::precision p) {
  const tiny_checkpoint checkpoint(7);
  const auto weights = checkpoint.load(p);
  std::vector<std::unique_ptr<worker>> workers;
  for (const auto isa : gpu::available_isas())
    workers.push_back(std::make_unique<worker>(weights, **gpu::ops_for(isa)));
  property(
      "logits and samples are those of the whole prompt alone, on every instruction set",
      [&] {
        const auto length = *rc::gen::inRange(1, max_tokens + 1), mate_length = *rc::gen::inRange(0, max_tokens / 4);
        const gpu::sampling sampling{.temperature = *rc::gen::elementOf(std::vector<float>{0, 0.8f}), .seed = 11};
        std::vector<std::int32_t> blocks(worker::num_blocks);
        std::iota(blocks.begin(), blocks.end(), 0);
        passage whole;
        whole.tokens = random_tokens(length), whole.chunks = {length}, whole.blocks = blocks;
        workers.front()->run({&whole}, sampling);
        RC_ASSERT(std::int32_t(whole.digests.size()) == length);

        for (const auto i : blocks) // anywhere else in the pool
          std::swap(blocks[std::size_t(i)], blocks[*rc::gen::inRange<std::size_t>(0, blocks.size())]);
        passage cut = {}, mate = {};
        cut.tokens = whole.tokens, cut.chunks = random_chunks(length), cut.blocks = blocks;
        mate.tokens = random_tokens(mate_length), mate.chunks = random_chunks(mate_length);
        mate.blocks = {blocks.rbegin(), blocks.rend()};
        const bool mate_first = *rc::gen::arbitrary<bool>();
        for (auto& w : workers) {
          auto again = cut, beside = mate;
          w->run(mate_first ? std::vector{&beside, &again} : std::vector{&again, &beside}, sampling);
          RC_ASSERT(again.digests == whole.digests);
          RC_ASSERT(again.sampled == whole.sampled);
        }
      },
      12);
}

} // namespace

TEST_CASE("in f32, how a prompt is cut and what shares its batch changes no logit") {
  chunks_change_nothing(gpu::precision::f32);
}
TEST_CASE("in w4a8, how a prompt is cut and what shares its batch changes no logit") {
  chunks_change_nothing(gpu::precision::w4a8);
}

TEST_CASE("another checkpoint, or another token, gives other logits") {
  const auto& ops = **gpu::ops_for(gpu::available_isas().front());
  const auto digests = [&](std::uint64_t seed, std::int32_t token) {
    worker w(tiny_checkpoint(seed).load(gpu::precision::f32), ops);
    passage p;
    p.tokens = {token, 2, 3}, p.chunks = {3}, p.blocks = {0};
    w.run({&p}, {});
    return p.digests;
  };
  CHECK(digests(1, 1) == digests(1, 1));
  CHECK(digests(1, 1).back() != digests(2, 1).back());
  CHECK(digests(1, 1).back() != digests(1, 4).back());
}

TEST_CASE("a checkpoint that lacks a tensor, or has it in another shape, is told which") {
  const tiny_checkpoint checkpoint(1);
  auto config = checkpoint.load(gpu::precision::f32)->config();
  const auto refused = [&](const model_config& c, const char* what) {
    const auto files = std::make_shared<checkpoint_files>(checkpoint.files());
    weight_cache weights(files, c, gpu::numerics_of(gpu::precision::f32));
    const auto loaded = load_shard(weights, {.first_layer = 0, .end_layer = c.num_layers}, 4);
    REQUIRE(!loaded.ok());
    INFO(loaded.error().message);
    CHECK(loaded.error().message.find(what) != std::string::npos);
  };
  auto deeper = config;
  deeper.num_layers = 4;
  refused(deeper, "has no tensor model.layers.3.input_layernorm.weight");
  auto wider = config;
  wider.moe_intermediate_size = 128;
  refused(wider, "model.layers.0.mlp.experts.0.gate_proj.weight: expected at least 128 rows of 64");
}
