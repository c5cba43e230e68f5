#include "actors/prefill_shard.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

constexpr std::int32_t logits_per_message = 1 << 20; ///< 4 MiB; an envelope has a limit

model::batch read_batch(wire::MicroBatch::Reader step) {
  model::batch b;
  for (const auto c : step.getChunks()) {
    const auto first_row = std::int32_t(b.ids.size());
    for (const auto token : c.getTokens()) b.ids.push_back(token);
    const auto rows = std::int32_t(c.getTokens().size());
    b.sequences.push_back(
        {.num_rows = rows, .first_position = c.getFirstPosition(), .blocks = read_ints(c.getBlocks())});
    for (std::int32_t row = 0; row < rows && c.getAllLogits(); ++row) b.outputs.push_back({.row = first_row + row});
    if (c.getAllLogits() || !c.getLast()) continue;
    const auto rules = c.hasRules() ? read(c.getRules()) : nullptr;
    for (std::int32_t sample = 0; sample < c.getSamples(); ++sample)
      b.outputs.push_back({.row = first_row + rows - 1, .sampling = read(c.getSampling(), sample), .rules = rules});
  }
  return b;
}

/// Hands the sampled tokens and wanted logits to the requests. Runs on the device thread.
void report_outputs(const msg::micro_batch& message, const handles& beside,
                    const std::vector<std::shared_ptr<const chunk_kv>>& kv, const model::frame& f,
                    std::int32_t vocabulary) {
  const auto step = message.view();
  const auto chunks = step->getChunks();
  std::int32_t out = 0;
  for (unsigned i = 0; i < chunks.size(); ++i) {
    const auto c = chunks[i];
    const auto request = as<request_actor>(beside[2 * i]);
    const auto rows = c.getAllLogits() ? std::int32_t(c.getTokens().size()) : c.getLast() ? c.getSamples() : 0;
    const auto at_once = std::max(1, logits_per_message / vocabulary);
    for (std::int32_t first = 0; c.getAllLogits() && first < rows; first += at_once)
      caf::anon_send(request, msg::logit_rows::make([&](wire::LogitRows::Builder& b) {
                       b.setRequest(c.getRequest());
                       b.setAttempt(c.getAttempt());
                       b.setFirstPosition(c.getFirstPosition() + first);
                       b.setVocabulary(vocabulary);
                       const auto bytes =
                           std::size_t(std::min(at_once, rows - first)) * std::size_t(vocabulary) * sizeof(float);
                       std::memcpy(b.initRows(unsigned(bytes)).begin(),
                                   f.logits + std::int64_t(f.output_logits[out] + first) * vocabulary, bytes);
                     }));
    const auto outputs = c.getAllLogits() ? std::pair(out + rows - 1, out + rows) : std::pair(out, out + rows);
    out += rows;
    if (!c.getLast()) continue;
    if (kv[i]) kv[i]->first_tokens({f.sampled + outputs.first, f.sampled + outputs.second});
    caf::anon_send(request, msg::first_token::make(
                                [&](wire::FirstToken::Builder& b) {
                                  b.setRequest(c.getRequest());
                                  b.setAttempt(c.getAttempt());
                                  b.setCachedTokens(c.getCachedTokens());
                                  auto samples = b.initSamples(unsigned(outputs.second - outputs.first));
                                  for (unsigned n = 0; n < samples.size(); ++n)
                                    write(samples[n], f, outputs.first + std::int32_t(n));
                                },
                                c.getRequest()));
  }
}

} // namespace

prefill_shard::prefill_shard(caf::actor_config& config, std::shared_ptr<attention_host> host, std::uint32_t row)
    : observed(config, "prefill shard " + host->about().name), host_(std::move(host)), sender_(*host_, row) {}

prefill_shard::behavior_type prefill_shard::make_behavior() {
  now("joining");
  return {[this](const msg::micro_batch& message, const handles& beside) { run(message, beside); },
          [this](const msg::halt& message, const handle& transfer) {
            sender_.halt(message, as<kv_transfer_actor>(transfer));
          },
          [this](const msg::view& message, const handles&) {
            host_->connect(read_peers(*message.view()));
            sender_.connect(*message.view());
            now("serving");
          },
          [this](const msg::status_query&) { return worker_report(host_->device_times()); }};
}

void prefill_shard::run(const msg::micro_batch& message, const handles& beside) {
  const auto& shard = *host_->about().shard;
  const auto kv = sender_.prepare(*message.view(), beside);
  attention_host::launch_hooks hooks{.kv_ready =
                                         [kv](std::int32_t layer) {
                                           for (const auto& chunk : kv)
                                             if (chunk) chunk->layer_stored(layer);
                                         },
                                     .done = {},
                                     .in_order = true};
  if (shard.shape.samples && shard.spec.tp_rank == 0) {
    const auto planner = as<planner_actor>(current_sender());
    hooks.done = [message, beside, kv, planner, vocabulary = shard.config.vocab_size](const model::frame& f) {
      report_outputs(message, beside, kv, f, vocabulary);
      caf::anon_send(planner, msg::micro_batch_done::make(
                                  [&](wire::MicroBatchDone::Builder& b) { b.setStep(message.view()->getStep()); }));
    };
  }
  const auto step = message.view();
  host_->launch(step->getSlot(), read_batch(*step), std::move(hooks));
}

} // namespace quadrant::actors
