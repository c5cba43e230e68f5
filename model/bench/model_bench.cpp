#include "model/bench/model_bench.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <future>
#include <numeric>

#include "config/clock.hpp"
#include "config/progress.hpp"
#include "gpu/backend.hpp"
#include "model/family.hpp"
#include "model/footprint.hpp"

namespace quadrant::model::bench {
namespace {

constexpr std::int32_t chunk_tokens = 512, steps_a_round = 32;
constexpr int rounds = 5;

std::int32_t blocks_for(std::int32_t positions) { return (positions + gpu::block_tokens - 1) / gpu::block_tokens; }

double median(std::vector<double> list) {
  std::ranges::sort(list);
  return list[list.size() / 2];
}

/// The model on a device, and sequences that step on it.
class running_model {
public:
  running_model(std::shared_ptr<const shard> s, const gpu::ops_table& ops, const gpu::team_options& team,
                std::int32_t tokens, std::int32_t sequences)
      : shard_(std::move(s)), pool_(shard_->kv.pool_bytes()), slots_(std::size_t(sequences)), device_("bench", team),
        stream_(device_.make_stream()) {
    for (int i = 0; i < frames; ++i) {
      frames_.push_back(std::make_unique<frame>(
          shard_->config, shard_->numerics, shard_->spec, shard_->shape,
          frame_limits{.tokens = tokens, .sequences = sequences, .outputs = std::max(sequences, 1)}));
      env_.push_back({.ops = &ops, .f = frames_.back().get(), .kv_pool = pool_.data(), .token_slots = slots_.data()});
    }
  }

  /// Prefills positions [first, first + count) of a sequence; its last row leaves a token in slot 0.
  void prefill(const std::vector<std::int32_t>& blocks, std::int32_t first, std::int32_t count) {
    batch step;
    for (std::int32_t i = 0; i < count; ++i) step.ids.push_back(any_token());
    step.sequences.push_back({.num_rows = count, .first_position = first, .blocks = upto(blocks, first + count)});
    step.outputs.push_back({.row = count - 1, .slot = 0, .sampling = {}});
    run({std::move(step)});
  }

  /// `steps` decode steps of all sequences, each enqueued while the one before it runs.
  void decode(const std::vector<std::vector<std::int32_t>>& blocks, std::int32_t depth, std::int32_t steps) {
    std::vector<batch> list;
    for (std::int32_t n = 0; n < steps; ++n) {
      batch step;
      for (std::size_t s = 0; s < blocks.size(); ++s) {
        const auto slot = std::int32_t(s);
        step.ids.push_back(-1 - slot);
        step.sequences.push_back(
            {.num_rows = 1, .first_position = depth + n, .blocks = upto(blocks[s], depth + n + 1)});
        step.outputs.push_back({.row = slot, .slot = slot, .sampling = {}});
      }
      list.push_back(std::move(step));
    }
    run(std::move(list));
  }

  /// The KV of one sequence's blocks becomes that of another's.
  void copy_kv(const std::vector<std::int32_t>& from, const std::vector<std::int32_t>& to) {
    const auto& l = shard_->kv;
    for (std::size_t b = 0; b < from.size(); ++b)
      for (std::int32_t layer = 0; layer < l.num_layers; ++layer)
        std::memcpy(pool_.data() + l.slice_offset(to[b], layer, 0), pool_.data() + l.slice_offset(from[b], layer, 0),
                    std::size_t(l.num_kv_heads) * l.slice_bytes());
  }
  void set_tokens() {
    for (auto& slot : slots_) slot = any_token();
  }

private:
  static constexpr int frames = 2;

  static std::vector<std::int32_t> upto(const std::vector<std::int32_t>& blocks, std::int32_t positions) {
    return {blocks.begin(), blocks.begin() + blocks_for(positions)};
  }
  std::int32_t any_token() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return std::int32_t((random_ >> 33) % std::uint64_t(shard_->config.vocab_size));
  }
  void run(std::vector<batch> steps) {
    std::promise<void> ended;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      step_hooks hooks;
      if (i + 1 == steps.size()) hooks.done = [&ended] { ended.set_value(); };
      enqueue(shard_->program, env_[i % frames], std::move(steps[i]), *stream_, nullptr, std::move(hooks));
    }
    ended.get_future().wait();
  }

  std::shared_ptr<const shard> shard_;
  gpu::aligned_bytes pool_;
  std::vector<std::int32_t> slots_;
  std::vector<std::unique_ptr<frame>> frames_;
  std::vector<step_env> env_;
  std::uint64_t random_ = 1;
  gpu::device device_; ///< ends before what its kernels use
  std::shared_ptr<gpu::stream> stream_;
};

/// One line of results. limit: tokens a second.
void report(const model_bench_options& options, const char* name, gpu::bench::shape_numbers shape, double us,
            double tokens, const char* limit_name, double limit) {
  gpu::bench::measurement m{.name = name,
                            .shape = std::move(shape),
                            .threads = options.team.num_threads,
                            .median_us = us,
                            .value = tokens / us * 1e6,
                            .unit = "tokens/s",
                            .limit_name = limit_name,
                            .limit = limit,
                            .ratio = 0};
  m.ratio = m.value / m.limit;
  options.measured(m);
}

} // namespace

token_cost cost_of(const model_config& c, const gpu::numerics& n) {
  token_cost cost;
  const auto hidden = c.hidden_size;
  const auto ffn_bytes = [&](std::int32_t width) {
    return packed_bytes(n.expert, 2.0 * width, hidden) + packed_bytes(n.expert, hidden, width);
  };
  for (std::int32_t layer = 0; layer < c.num_layers; ++layer) {
    const auto matrix = [&](gpu::dtype type, double out, double in) {
      cost.linear_operations += 2.0 * out * in;
      cost.always_bytes += packed_bytes(type, out, in);
    };
    if (c.is_latent()) {
      const auto& l = c.latent;
      if (l.query_rank > 0) matrix(n.projection, l.query_rank, hidden);
      matrix(n.projection, c.num_q_heads * (l.plain + l.turned), l.query_rank > 0 ? l.query_rank : hidden);
      matrix(n.projection, l.rank + l.turned, hidden);
      matrix(gpu::dtype::bf16, c.num_q_heads * (l.plain + l.value), l.rank);
    } else {
      matrix(n.projection, (c.num_q_heads + 2 * c.num_kv_heads) * c.head_dim, hidden);
    }
    matrix(n.projection, hidden, c.num_q_heads * c.output_dim());
    if (c.is_moe_layer(layer)) {
      cost.linear_operations += 2.0 * hidden * (3.0 * c.num_experts_per_tok * c.moe_intermediate_size + c.num_experts);
      cost.always_bytes += packed_bytes(gpu::dtype::bf16, c.num_experts, hidden); // as checkpoints hold it
      cost.linear_operations += 6.0 * hidden * c.shared_intermediate_size;
      cost.always_bytes += ffn_bytes(c.shared_intermediate_size);
    } else {
      cost.linear_operations += 6.0 * hidden * c.intermediate_size;
      cost.always_bytes += ffn_bytes(c.intermediate_size);
    }
    cost.pair_operations += 2.0 * c.num_q_heads * (c.key_dim() + c.value_dim());
    cost.kv_bytes += double(c.num_kv_heads) * (c.key_dim() + c.value_dim()) * double(bits(n.kv)) / 8;
  }
  cost.head_operations = 2.0 * hidden * c.vocab_size;
  cost.always_bytes += packed_bytes(n.head, c.vocab_size, hidden);
  cost.expert_bytes = c.num_experts > 0 ? ffn_bytes(c.moe_intermediate_size) : 0;
  return cost;
}

result<void> bench_model(weight_cache& weights, const model_bench_options& options) {
  const auto& config = weights.config();
  const auto most_batch = std::ranges::max(options.batches), deepest = std::ranges::max(options.depths);
  const auto positions = std::max(options.prompt, blocks_for(deepest) * gpu::block_tokens + steps_a_round);
  if (positions > config.max_position_embeddings)
    return {errc::invalid_argument, "this model has " + std::to_string(config.max_position_embeddings) +
                                        " positions, the prompt or depth asked for needs " + std::to_string(positions)};
  QUADRANT_TRY(const auto isa, gpu::choose_isa());
  const auto each = blocks_for(positions);
  QUADRANT_TRY(auto loaded, load_shard(weights, {.first_layer = 0, .end_layer = config.num_layers}, each * most_batch));
  running_model running(std::move(loaded), **gpu::ops_for(isa), options.team,
                        std::max({options.prompt, chunk_tokens, most_batch}), most_batch);
  gpu::team::prepare_thread();
  gpu::bench::limits limits(isa);
  const auto sample = [&](const auto& fn) { // a team of its own for as long: the device's must find its cores free
    gpu::team team(options.team);
    return fn(team);
  };
  const auto cost = cost_of(config, weights.numerics());
  std::vector<std::vector<std::int32_t>> blocks(static_cast<std::size_t>(most_batch));
  for (std::size_t s = 0; s < blocks.size(); ++s) {
    blocks[s].resize(std::size_t(each));
    std::iota(blocks[s].begin(), blocks[s].end(), std::int32_t(s) * each);
  }
  const auto timed = [](const auto& fn) {
    const auto start = steady_clock::monotonic_ns();
    fn();
    return double(steady_clock::monotonic_ns() - start) * 1e-3;
  };

  {
    const double t = options.prompt;
    const auto operations = t * cost.linear_operations + cost.head_operations + cost.pair_operations * t * (t + 1) / 2;
    std::vector<double> us, limit;
    running.prefill(blocks[0], 0, options.prompt); // pages and caches
    for (int round = 0; round < rounds; ++round) {
      limit.push_back(t * sample([&](gpu::team& team) { return limits.int8_gops(team); }) * 1e9 / operations);
      us.push_back(timed([&] { running.prefill(blocks[0], 0, options.prompt); }));
    }
    report(options, "model_prefill", {{"tokens", t}, {"giga_operations", operations * 1e-9}}, median(us), t,
           "all operations at the int8 peak", median(limit));
  }
  for (auto depth : options.depths) {
    // Rounds store the same rows again: none may seal a block.
    if (depth % gpu::block_tokens + steps_a_round > gpu::block_tokens) depth = blocks_for(depth) * gpu::block_tokens;
    for (std::int32_t first = 0; first < depth; first += chunk_tokens) {
      progress::report("filling KV", std::uint64_t(first), std::uint64_t(depth), "positions");
      running.prefill(blocks[0], first, std::min(chunk_tokens, depth - first));
    }
    progress::report("filling KV", 1, 1, "positions");
    for (std::size_t s = 1; depth > 0 && s < blocks.size(); ++s) running.copy_kv(blocks[0], blocks[s]);
    for (const auto count : options.batches) {
      const std::vector<std::vector<std::int32_t>> some(blocks.begin(), blocks.begin() + count);
      const double n = count, seen = depth + steps_a_round / 2.0;
      double untouched = 1; // of a layer's experts after n tokens, were all equally likely
      for (std::int32_t i = 0; i < count && config.num_experts > 0; ++i)
        untouched *= 1 - double(config.num_experts_per_tok) / config.num_experts;
      const double chosen = config.num_experts * (1 - untouched);
      double moe_layers = 0;
      for (std::int32_t layer = 0; layer < config.num_layers; ++layer) moe_layers += config.is_moe_layer(layer) ? 1 : 0;
      const auto bytes = cost.always_bytes + moe_layers * chosen * cost.expert_bytes + n * seen * cost.kv_bytes;
      const auto operations = n * (cost.linear_operations + cost.head_operations + seen * cost.pair_operations);
      const auto block = std::size_t(cost.expert_bytes > 0 ? cost.expert_bytes : 512 << 10);
      std::vector<double> us, limit;
      running.set_tokens();
      running.decode(some, depth, 2);
      for (int round = 0; round < rounds; ++round) {
        limit.push_back(n * sample([&](gpu::team& team) {
                          return std::min(limits.random_gb_s(team, block) / bytes, limits.int8_gops(team) / operations);
                        }) *
                        1e9);
        running.set_tokens();
        us.push_back(timed([&] { running.decode(some, depth, steps_a_round); }) / steps_a_round);
      }
      report(
          options, "model_decode",
          {{"batch", n}, {"depth", double(depth)}, {"mb_a_step", bytes * 1e-6}, {"giga_operations", operations * 1e-9}},
          median(us), n, "the slower of bytes at the DRAM rate and operations at the int8 peak", median(limit));
    }
  }
  return {};
}

} // namespace quadrant::model::bench
