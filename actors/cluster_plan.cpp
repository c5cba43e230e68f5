#include "actors/cluster_plan.hpp"

#include <algorithm>
#include <charconv>
#include <thread>

#include "scheduler/kv_split.hpp"

namespace quadrant::actors {
namespace {

std::optional<std::int32_t> number(std::string_view text) {
  std::int32_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

} // namespace

std::optional<worker_id> worker_id::parse(std::string_view name) {
  const auto parts = split(name);
  if (parts.size() == 3 && parts[0] == "prefill") {
    const auto pp = number(parts[1]), tp = number(parts[2]);
    if (pp && tp) return worker_id{role::prefill, *pp, *tp};
  } else if (parts.size() == 2 && parts[0] == "decode") {
    if (const auto tp = number(parts[1])) return worker_id{role::decode, 0, *tp};
  } else if (parts.size() == 3 && parts[0] == "experts" && (parts[1] == "prefill" || parts[1] == "decode")) {
    if (const auto ep = number(parts[2]))
      return worker_id{parts[1] == "prefill" ? role::prefill_experts : role::decode_experts, 0, *ep};
  }
  return std::nullopt;
}

result<cluster_plan> cluster_plan::make(const topology& t, const model::model_config& config, gpu::numerics numerics) {
  cluster_plan plan;
  plan.topology_ = t;
  plan.config_ = config;
  plan.numerics_ = numerics;
  plan.names_ = t.worker_names();
  const auto say = [](std::string what) { return failure{errc::invalid_argument, std::move(what)}; };
  if (t.prefill_pp > config.num_layers)
    return say("prefill.pp = " + std::to_string(t.prefill_pp) + " is more than the model's " +
               std::to_string(config.num_layers) + " layers");
  for (const auto ep : {t.experts_prefill_ep, t.experts_decode_ep})
    if (ep > config.num_experts)
      return say("experts: " + std::to_string(ep) + " groups are more than the model's " +
                 std::to_string(config.num_experts) + " experts");
  for (const auto& name : plan.names_)
    if (const auto id = *worker_id::parse(name); id.kind == role::prefill || id.kind == role::decode) {
      auto shape = model::shape_of(config, plan.shard_of(id));
      if (!shape) return shape.error();
    }
  return plan;
}

std::uint32_t cluster_plan::row_of(worker_id id) const {
  const auto& t = topology_;
  switch (id.kind) {
  case role::prefill: return std::uint32_t(id.stage * t.prefill_tp + id.rank);
  case role::decode: return std::uint32_t(t.prefill_pp * t.prefill_tp + id.rank);
  case role::prefill_experts: return std::uint32_t(t.prefill_pp * t.prefill_tp + t.decode_tp + id.rank);
  case role::decode_experts:
    return std::uint32_t(t.prefill_pp * t.prefill_tp + t.decode_tp + t.experts_prefill_ep + id.rank);
  }
  return 0;
}

model::shard_spec cluster_plan::shard_of(worker_id id) const {
  auto spec = id.kind == role::prefill ? model::stage_of(config_, id.stage, std::int32_t(topology_.prefill_pp))
                                       : model::stage_of(config_, 0, 1);
  spec.tp_rank = id.rank;
  spec.tp = std::int32_t(id.kind == role::prefill ? topology_.prefill_tp : topology_.decode_tp);
  spec.kv_split = id.kind == role::prefill ? 1 : std::int32_t(topology_.decode_kv_split);
  spec.local_experts = num_groups(id.kind) == 0;
  return spec;
}

std::int32_t cluster_plan::prefill_outputs(const topology& t) {
  return std::int32_t(std::max(t.prefill_micro_batch_tokens, t.decode_max_sequences));
}

model::frame_limits cluster_plan::frame_of(role kind) const {
  if (kind == role::prefill) {
    const auto tokens = std::int32_t(topology_.prefill_micro_batch_tokens);
    return {.tokens = tokens, .sequences = tokens, .outputs = prefill_outputs(topology_)};
  }
  const auto rows = std::int32_t((topology_.decode_max_sequences + topology_.decode_micro_batches - 1) /
                                 topology_.decode_micro_batches);
  // A sequence with n parts here has at least n - 1 full segments here.
  const auto parts = topology_.decode_kv_split == 1 ? 0 : rows + topology_.decode_kv_blocks / scheduler::segment_blocks;
  return {.tokens = rows, .sequences = rows, .outputs = rows, .parts = std::int32_t(parts)};
}

std::uint32_t cluster_plan::slots_of(role kind) const {
  return std::uint32_t(kind == role::prefill ? topology_.prefill_micro_batches : topology_.decode_micro_batches);
}

attention_landing cluster_plan::landing_of(worker_id id) const {
  const auto spec = shard_of(id);
  const auto shape = *model::shape_of(config_, spec);
  const auto limits = frame_of(id.kind);
  const auto tokens = std::size_t(limits.tokens);
  const std::size_t head_bytes = numerics_.activation == gpu::dtype::i8 ? 1 : sizeof(float);
  const std::size_t residual = std::size_t(config_.hidden_size) * sizeof(float);
  const std::size_t share = (tokens + std::size_t(spec.tp) - 1) / std::size_t(spec.tp) * residual;
  const std::size_t part =
      std::max({tokens * std::size_t(shape.q_heads) * (std::size_t(config_.output_dim()) * head_bytes + sizeof(float)),
                tokens * std::size_t(shape.hidden_part) * sizeof(float), share,
                std::size_t(limits.outputs) * std::size_t(shape.vocab_part) * sizeof(float)});
  return {.slots = slots_of(id.kind),
          .tp = std::uint32_t(spec.tp),
          .part_bytes = spec.tp == 1 ? 0 : part,
          .residual_bytes = shape.embeds ? 0 : tokens * residual,
          .state_bytes = spec.kv_rank() == 0 ? 0
                                             : tokens * std::size_t(shape.q_heads) *
                                                   std::size_t(config_.value_dim() + 2) * sizeof(float)};
}

std::int32_t cluster_plan::num_groups(role attention) const {
  return std::int32_t(attention == role::prefill ? topology_.experts_prefill_ep : topology_.experts_decode_ep);
}

dispatch_landing cluster_plan::dispatch_of(role attention) const {
  const bool prefill = attention == role::prefill;
  const auto tp = std::int32_t(prefill ? topology_.prefill_tp : topology_.decode_tp);
  const bool int8 = numerics_.activation == gpu::dtype::i8;
  return {.callers = std::uint32_t(prefill ? topology_.prefill_pp * tp : tp),
          .slots = slots_of(attention),
          .rows = (frame_of(attention).tokens + tp - 1) / tp * config_.num_experts_per_tok,
          .row_bytes = std::size_t(config_.hidden_size) * (int8 ? 1 : sizeof(float)),
          .scales = int8};
}

cluster_plan::expert_range cluster_plan::experts_of(role attention, std::int32_t ep_rank) const {
  const auto groups = num_groups(attention);
  const auto start = [&](std::int32_t r) {
    return r * (config_.num_experts / groups) + std::min(r, config_.num_experts % groups);
  };
  return {start(ep_rank), start(ep_rank + 1)};
}

std::uint32_t cluster_plan::caller_of(worker_id id) const {
  return std::uint32_t(id.kind == role::prefill ? id.stage * topology_.prefill_tp + id.rank : id.rank);
}

int cluster_plan::threads_asked(worker_id id) const {
  return int(id.kind == role::prefill  ? topology_.prefill_threads
             : id.kind == role::decode ? topology_.decode_threads
                                       : topology_.experts_threads);
}

int cluster_plan::threads_of(worker_id id, int local) const {
  if (const auto asked = threads_asked(id); asked > 0) return asked;
  return std::max(1, int(std::thread::hardware_concurrency()) / std::max(1, local));
}

neighbours cluster_plan::around(worker_id id, const std::vector<peer>& peers) const {
  neighbours n;
  n.tp_rank = std::uint32_t(id.rank);
  const auto tp = shard_of(id).tp;
  for (std::int32_t rank = 0; rank < tp; ++rank) n.tp_ranks.push_back(peers[row_of({id.kind, id.stage, rank})]);
  if (id.kind == role::prefill && id.stage + 1 < topology_.prefill_pp)
    n.next_stage = peers[row_of({role::prefill, id.stage + 1, id.rank})];
  n.caller = caller_of(id);
  const auto experts = id.kind == role::prefill ? role::prefill_experts : role::decode_experts;
  for (std::int32_t ep = 0; ep < num_groups(id.kind); ++ep) {
    const auto range = experts_of(id.kind, ep);
    n.experts.push_back({peers[row_of({experts, 0, ep})], range.first, range.end});
  }
  return n;
}

} // namespace quadrant::actors
