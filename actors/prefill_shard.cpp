#include "actors/prefill_shard.hpp"

#include <algorithm>
#include <cstring>

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
    const auto wanted = c.getAllLogits() ? first_row : c.getLast() ? first_row + rows - 1 : first_row + rows;
    for (auto row = wanted; row < first_row + rows; ++row)
      b.outputs.push_back({.row = row, .slot = -1, .sampling = read(c.getSampling())});
  }
  return b;
}

/// Tells each chunk's kv_transfer that a layer is stored. Runs on the device thread.
void report_layer(const msg::micro_batch& message, const handles& beside, std::uint32_t worker, std::int32_t layer) {
  const auto step = message.view();
  const auto chunks = step->getChunks();
  for (unsigned i = 0; i < chunks.size(); ++i) {
    const auto c = chunks[i];
    if (c.getAllLogits()) continue; // nothing is handed over
    caf::anon_send(as<kv_transfer_actor>(beside[2 * i + 1]),
                   msg::kv_ready::make(
                       [&](wire::KvReady::Builder& b) {
                         b.setRequest(c.getRequest());
                         b.setAttempt(c.getAttempt());
                         b.setWorker(worker);
                         b.setLayer(std::uint32_t(layer));
                         b.setFirstPosition(c.getFirstPosition());
                         b.setEndPosition(c.getFirstPosition() + std::int32_t(c.getTokens().size()));
                         b.setLast(c.getLast());
                         b.setBlocks(c.getBlocks());
                       },
                       c.getRequest()));
  }
}

/// Hands the sampled tokens and wanted logits to the requests. Runs on the device thread.
void report_outputs(const msg::micro_batch& message, const handles& beside, const model::frame& f,
                    std::int32_t vocabulary) {
  const auto step = message.view();
  const auto chunks = step->getChunks();
  std::int32_t out = 0;
  for (unsigned i = 0; i < chunks.size(); ++i) {
    const auto c = chunks[i];
    const auto request = as<request_actor>(beside[2 * i]);
    const auto rows = c.getAllLogits() ? std::int32_t(c.getTokens().size()) : c.getLast() ? 1 : 0;
    const auto at_once = std::max(1, logits_per_message / vocabulary);
    for (std::int32_t first = 0; c.getAllLogits() && first < rows; first += at_once)
      caf::anon_send(
          request, msg::logit_rows::make([&](wire::LogitRows::Builder& b) {
            b.setRequest(c.getRequest());
            b.setAttempt(c.getAttempt());
            b.setFirstPosition(c.getFirstPosition() + first);
            b.setVocabulary(vocabulary);
            const auto bytes = std::size_t(std::min(at_once, rows - first)) * std::size_t(vocabulary) * sizeof(float);
            std::memcpy(b.initRows(unsigned(bytes)).begin(), f.logits + std::int64_t(out + first) * vocabulary, bytes);
          }));
    out += rows;
    if (!c.getLast()) continue;
    caf::anon_send(request, msg::first_token::make(
                                [&](wire::FirstToken::Builder& b) {
                                  b.setRequest(c.getRequest());
                                  b.setAttempt(c.getAttempt());
                                  b.setToken(f.sampled[out - 1]);
                                  b.setDigest(f.digests[out - 1]);
                                },
                                c.getRequest()));
  }
}

} // namespace

prefill_shard::prefill_shard(caf::actor_config& config, std::shared_ptr<attention_host> host, std::uint32_t row)
    : observed(config, "prefill shard " + host->about().name), host_(std::move(host)), row_(row) {}

prefill_shard::behavior_type prefill_shard::make_behavior() {
  now("joining");
  return {[this](const msg::micro_batch& message, const handles& beside) { run(message, beside); },
          [this](const msg::kv_send& message) { send_slices(message); },
          [this](const msg::view& message, const handles&) {
            host_->connect(read_peers(*message.view()));
            now("serving");
          },
          [this](const msg::status_query&) { return worker_report(host_->device_times()); }};
}

void prefill_shard::run(const msg::micro_batch& message, const handles& beside) {
  const auto& shard = *host_->about().shard;
  attention_host::launch_hooks hooks{
      .kv_ready = [message, beside, row = row_](std::int32_t layer) { report_layer(message, beside, row, layer); },
      .done = {},
      .in_order = true};
  if (shard.shape.samples && shard.spec.tp_rank == 0) {
    const auto planner = as<planner_actor>(current_sender());
    hooks.done = [message, beside, planner, vocabulary = shard.config.vocab_size](const model::frame& f) {
      report_outputs(message, beside, f, vocabulary);
      caf::anon_send(planner, msg::micro_batch_done::make(
                                  [&](wire::MicroBatchDone::Builder& b) { b.setStep(message.view()->getStep()); }));
    };
  }
  const auto step = message.view();
  host_->launch(step->getSlot(), read_batch(*step), std::move(hooks));
}

void prefill_shard::send_slices(const msg::kv_send& message) {
  const auto v = message.view();
  transport::transfer what{.slices = {}, .message = {}, .kind = transport::traffic::kv, .checksum = true};
  std::uint64_t bytes = 0;
  for (const auto s : v->getSlices()) {
    const auto to = read(s.getTo());
    what.slices.push_back({{host_->kv_bytes() + s.getFromOffset(), to.bytes}, to});
    bytes += to.bytes;
  }
  const auto transfer = as<kv_transfer_actor>(current_sender());
  host_->send(read(v->getTo()), std::move(what), [message, transfer, bytes](const result<void>& outcome) {
    caf::anon_send(transfer, msg::kv_sent::make([&](wire::KvSent::Builder& b) {
                     const auto asked = message.view();
                     b.setRequest(asked->getRequest());
                     b.setAttempt(asked->getAttempt());
                     b.setTicket(asked->getTicket());
                     b.setBytes(bytes);
                     if (!outcome) write(b.initProblem(), outcome.error());
                   }));
  });
}

} // namespace quadrant::actors
