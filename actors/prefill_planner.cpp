#include "actors/prefill_planner.hpp"

#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

scheduler::planner_limits limits_of(const topology& t) {
  return {.num_slots = std::int32_t(t.prefill_micro_batches),
          .micro_batch_tokens = std::int32_t(t.prefill_micro_batch_tokens),
          .chunk_tokens = std::int32_t(t.prefill_chunk_tokens),
          .outputs = cluster_plan::prefill_outputs(t),
          .prefix_cache = t.prefill_prefix_cache == 1};
}

} // namespace

prefill_planner::prefill_planner(caf::actor_config& config, std::shared_ptr<const cluster_plan> plan)
    : observed(config, "prefill planner"), plan_(std::move(plan)),
      core_(limits_of(plan_->layout()), std::int32_t(plan_->layout().prefill_kv_blocks)) {}

prefill_planner::behavior_type prefill_planner::make_behavior() {
  now("serving");
  return {[this](const msg::prefill& message, const handle& transfer) {
            const auto v = message.view();
            const auto request = current_sender();
            if (const auto taken = core_.submit({.id = v->getRequest(),
                                                 .tokens = read_ints(v->getTokens()),
                                                 .all_logits = v->getAllLogits(),
                                                 .samples = v->getSamples()});
                !taken) {
              // The hand-over ends with the reason; the request hears it from there.
              send(as<kv_transfer_actor>(transfer), msg::kv_sent::make([&](wire::KvSent::Builder& b) {
                     b.setRequest(v->getRequest());
                     b.setAttempt(v->getAttempt());
                     write(b.initProblem(), taken.error());
                   }));
              return;
            }
            prompts_.insert_or_assign(v->getRequest(), prompt{v->getAttempt(), message, request, transfer});
            plan_all();
          },
          [this](const msg::halt& message, const handle& transfer) {
            core_.halt(message.view()->getRequest());
            for (const auto& shard : shards_) send(shard, message, transfer); // after every chunk that it was sent
            plan_all();
          },
          [this](const msg::forget& message) {
            const auto found = prompts_.find(message.view()->getRequest());
            if (found == prompts_.end() || found->second.attempt != message.view()->getAttempt()) return;
            core_.release(found->first);
            prompts_.erase(found);
            plan_all();
          },
          [this](const msg::micro_batch_done& message) {
            core_.complete(message.view()->getStep());
            plan_all();
          },
          [this](const msg::view&, const handles& workers) {
            shards_.clear();
            for (std::size_t row = 0; row < workers.size(); ++row)
              if (worker_id::parse(plan_->workers()[row])->kind == role::prefill)
                shards_.push_back(as<shard_actor>(workers[row]));
          },
          [this](const msg::status_query&) {
            return msg::status_report::make([this](wire::StatusReport::Builder& b) {
              write_books(b.initBooks(), core_.books(), core_.in_flight());
              write_gauges(b, {{"prompts_waiting", double(core_.waiting())}});
            });
          }};
}

/// The part of `all`, a prompt's, that is of the blocks which the chunk completes; the first chunk sends the cached ones, too.
void prefill_planner::write_place(wire::MicroBatch::Chunk::Builder to, const scheduler::chunk& c,
                                  wire::KvPlace::Reader all) {
  const auto first = c.first ? 0 : c.first_position / gpu::block_tokens;
  const auto end = c.last ? std::int32_t(c.blocks.size()) : (c.first_position + c.num_tokens) / gpu::block_tokens;
  to.setSendFrom(first);
  auto place = to.initTo();
  auto blocks = place.initBlocks(unsigned(end - first));
  for (unsigned n = 0; n < blocks.size(); ++n) blocks.set(n, all.getBlocks()[unsigned(first) + n]);
  if (c.last) place.setCopies(all.getCopies());
  place.setSegmentEnds(all.getSegmentEnds());
}

void prefill_planner::plan_all() {
  while (auto batch = core_.plan()) {
    handles beside; // of each chunk: its request, its kv_transfer
    const auto message = msg::micro_batch::make([&](wire::MicroBatch::Builder& b) {
      b.setStep(batch->step);
      b.setSlot(std::uint32_t(batch->slot));
      auto chunks = b.initChunks(unsigned(batch->chunks.size()));
      for (unsigned i = 0; i < chunks.size(); ++i) {
        const auto& c = batch->chunks[i];
        const auto& p = prompts_.at(c.request);
        const auto v = p.message.view();
        auto to = chunks[i];
        to.setRequest(c.request);
        to.setAttempt(p.attempt);
        to.setFirstPosition(c.first_position);
        auto tokens = to.initTokens(unsigned(c.num_tokens));
        for (unsigned t = 0; t < tokens.size(); ++t) tokens.set(t, v->getTokens()[unsigned(c.first_position) + t]);
        write_ints([&](unsigned n) { return to.initBlocks(n); }, c.blocks);
        to.setLast(c.last);
        to.setAllLogits(v->getAllLogits());
        to.setSampling(v->getSampling());
        to.setSamples(v->getSamples());
        if (c.last && v->hasRules()) to.setRules(v->getRules());
        to.setCachedTokens(c.cached_tokens);
        if (!v->getAllLogits()) write_place(to, c, v->getTo());
        beside.push_back(p.request);
        beside.push_back(p.transfer);
      }
    });
    for (const auto& shard : shards_) send(shard, message, beside);
  }
}

} // namespace quadrant::actors
