#include "actors/kv_transfer.hpp"

#include <algorithm>

#include "actors/wire.hpp"

namespace quadrant::actors {

kv_transfer::kv_transfer(caf::actor_config& config, order o) : observed(config, "kv transfer"), order_(std::move(o)) {
  const auto& t = order_.plan->layout();
  for (std::int32_t stage = 0; stage < t.prefill_pp; ++stage)
    for (std::int32_t rank = 0; rank < t.prefill_tp; ++rank) shards_[order_.plan->row_of({role::prefill, stage, rank})];
  set_down_handler([this](const caf::down_msg& message) { lost(message.source); });
}

kv_transfer::behavior_type kv_transfer::make_behavior() {
  now("moving");
  return {[this](const msg::kv_ready& message) {
            if (!told_ && !over_ && message.view()->getAttempt() == order_.attempt) queue_slices(message);
          },
          [this](const msg::kv_sent& message) {
            if (message.view()->getAttempt() == order_.attempt) sent(message);
          },
          [this](const msg::forget& message) {
            if (over_ || message.view()->getAttempt() != order_.attempt) return;
            over_ = true;
            for (auto& [row, shard] : shards_) {
              shard.queue.clear();
              if (shard.on_the_way > 0) monitor(order_.workers[row]); // a dead one never says that its slices are sent
            }
            forget_both();
          }};
}

/// Which slices of this layer the chunk has completed, and who wants them.
void kv_transfer::queue_slices(const msg::kv_ready& message) {
  const auto v = message.view();
  const auto& plan = *order_.plan;
  const auto row = v->getWorker();
  const auto id = *worker_id::parse(plan.workers()[row]);
  const auto from_spec = plan.shard_of(id);
  const auto from_shape = *model::shape_of(plan.config(), from_spec);
  const auto numerics = plan.numerics();
  const auto from = model::kv_layout_of(plan.config(), from_spec, from_shape, numerics,
                                        std::int32_t(plan.layout().prefill_kv_blocks));

  const auto first_block = v->getFirstPosition() / gpu::block_tokens;
  const auto end_block = v->getLast() ? (v->getEndPosition() + gpu::block_tokens - 1) / gpu::block_tokens
                                      : v->getEndPosition() / gpu::block_tokens;
  const auto view = order_.view.view();
  auto& shard = shards_.at(row);
  if (!shard.stored.emplace(v->getLayer(), v->getFirstPosition()).second) return;
  shard.rows += v->getEndPosition() - v->getFirstPosition();
  for (std::int32_t rank = 0; rank < plan.layout().decode_tp; ++rank) {
    const worker_id to_id{role::decode, 0, rank};
    const auto to_spec = plan.shard_of(to_id);
    const auto to_shape = *model::shape_of(plan.config(), to_spec);
    const auto to =
        model::kv_layout_of(plan.config(), to_spec, to_shape, numerics, std::int32_t(plan.layout().decode_kv_blocks));
    const auto worker = view->getWorkers()[plan.row_of(to_id)];
    const auto pool = read(worker.getKvPool());

    struct pair {
      std::uint64_t from;
      transport::remote_span to;
    };
    std::vector<pair> slices;
    for (std::int32_t head = 0; head < from_shape.kv_heads; ++head) {
      const auto global = from_shape.first_kv_head + head;
      // Replicated heads are sent by the lowest rank that has them.
      if (id.rank > 0 &&
          model::shape_of(plan.config(), plan.shard_of({role::prefill, id.stage, id.rank - 1}))->first_kv_head ==
              global)
        continue;
      if (global < to_shape.first_kv_head || global >= to_shape.first_kv_head + to_shape.kv_heads) continue;
      for (auto block = first_block; block < end_block; ++block) {
        if (order_.decode_split.holder_of(block / scheduler::segment_blocks) != std::size_t(to_spec.kv_rank()))
          continue;
        const auto source = v->getBlocks()[unsigned(block)];
        const auto target = order_.decode_blocks[std::size_t(block)];
        slices.push_back({from.slice_offset(source, std::int32_t(v->getLayer()), head),
                          {pool.key,
                           to.slice_offset(target, from_spec.first_layer + std::int32_t(v->getLayer()),
                                           global - to_shape.first_kv_head),
                           to.slice_bytes()}});
      }
    }
    if (slices.empty()) continue;
    auto message_to_rank = msg::kv_send::make(
        [&](wire::KvSend::Builder& b) {
          b.setRequest(order_.request);
          b.setAttempt(order_.attempt);
          b.setTicket(next_ticket_++);
          b.setTo(worker.getAddress());
          auto list = b.initSlices(unsigned(slices.size()));
          for (unsigned i = 0; i < list.size(); ++i) {
            list[i].setFromOffset(slices[i].from);
            write(list[i].initTo(), slices[i].to);
          }
        },
        order_.request);
    shard.queue.emplace_back(std::move(message_to_rank), rank);
  }
  send_window(row);
  finish_if_done();
}

void kv_transfer::send_window(std::uint32_t row) {
  auto& shard = shards_.at(row);
  while (shard.on_the_way < window && !shard.queue.empty()) {
    const auto& [message, rank] = shard.queue.front();
    tickets_.emplace(message.view()->getTicket(), ticket{row, rank});
    ++shard.on_the_way;
    send(as<shard_actor>(order_.workers[row]), message);
    shard.queue.pop_front();
  }
}

void kv_transfer::sent(const msg::kv_sent& message) {
  const auto v = message.view();
  auto outcome = read(v->getProblem());
  if (const auto found = tickets_.find(v->getTicket()); found != tickets_.end()) {
    const auto [row, to_rank] = found->second;
    --shards_.at(row).on_the_way;
    if (!over_) send_window(row);
    tickets_.erase(found);
    if (!outcome && outcome.error().code == errc::peer_lost) outcome = name_the_lost(to_rank, outcome.error());
  }
  if (!outcome) fail(outcome.error());
  finish_if_done();
  if (over_) forget_both();
}

/// The data plane knows an address; whoever reads the error wants the worker, and its process.
failure kv_transfer::name_the_lost(std::int32_t decode_rank, const failure& why) const {
  const auto& name = order_.plan->workers()[order_.plan->row_of({role::decode, 0, decode_rank})];
  std::string text = "worker " + name;
  for (const auto& process : order_.plan->layout().processes)
    if (std::ranges::find(process.runs, name) != process.runs.end()) text += " of process " + process.name;
  return {why.code, text + " was lost while KV was on its way to it: " + why.message};
}

void kv_transfer::finish_if_done() {
  if (told_ || over_ || !tickets_.empty()) return;
  for (const auto& [row, shard] : shards_) {
    const auto layers = order_.plan->shard_of(*worker_id::parse(order_.plan->workers()[row])).num_layers();
    if (!shard.queue.empty() || shard.rows < std::int64_t(layers) * order_.prompt_tokens) return;
  }
  told_ = true;
  now("done");
  send(order_.planner, msg::forget::make([&](wire::Forget::Builder& b) {
         b.setRequest(order_.request);
         b.setAttempt(order_.attempt);
       }));
  send(order_.owner, msg::handed_over::make([&](wire::HandedOver::Builder& b) {
         b.setRequest(order_.request);
         b.setAttempt(order_.attempt);
       }));
}

void kv_transfer::fail(const failure& why) {
  if (told_ || over_) return;
  told_ = true;
  now("failed");
  send(order_.owner, msg::handed_over::make([&](wire::HandedOver::Builder& b) {
         b.setRequest(order_.request);
         b.setAttempt(order_.attempt);
         write(b.initProblem(), why);
       }));
}

/// The request is over. Nothing that is on the way may lose its memory under it.
void kv_transfer::forget_both() {
  if (!tickets_.empty()) return now("draining");
  const auto forget = msg::forget::make([&](wire::Forget::Builder& b) {
    b.setRequest(order_.request);
    b.setAttempt(order_.attempt);
  });
  send(order_.planner, forget);
  send(order_.decode, forget);
  quit();
}

/// Whatever a dead shard had on the way, it reads no more.
void kv_transfer::lost(const caf::actor_addr& shard) {
  std::erase_if(tickets_, [&](const auto& entry) {
    return caf::actor_cast<caf::actor_addr>(order_.workers[entry.second.row]) == shard;
  });
  forget_both();
}

} // namespace quadrant::actors
