#include "actors/kv_transfer.hpp"

#include <algorithm>

#include "actors/wire.hpp"

namespace quadrant::actors {

kv_transfer::kv_transfer(caf::actor_config& config, order o) : observed(config, "kv transfer"), order_(std::move(o)) {
  const auto& plan = *order_.plan;
  for (std::int32_t stage = 0; stage < plan.layout().prefill_pp; ++stage)
    for (std::int32_t rank = 0; rank < plan.layout().prefill_tp; ++rank) {
      const worker_id id{role::prefill, stage, rank};
      shards_[plan.row_of(id)].rows_due = std::int64_t(plan.shard_of(id).num_layers()) * order_.prompt_tokens;
    }
  set_down_handler([this](const caf::down_msg& message) { // it reads nothing more
    for (const auto& [row, shard] : shards_)
      if (caf::actor_cast<caf::actor_addr>(order_.workers[row]) == message.source) return drained(row);
  });
}

kv_transfer::behavior_type kv_transfer::make_behavior() {
  now("moving");
  return {[this](const msg::kv_sent& message) {
            if (message.view()->getAttempt() == order_.attempt) sent(message);
          },
          [this](const msg::halted& message) {
            if (message.view()->getAttempt() == order_.attempt) drained(message.view()->getWorker());
          },
          [this](const msg::forget& message) {
            if (!over_ && message.view()->getAttempt() == order_.attempt) over();
          }};
}

void kv_transfer::sent(const msg::kv_sent& message) {
  if (over_) return;
  const auto v = message.view();
  if (const auto outcome = read(v->getProblem()); !outcome) return fail(outcome.error());
  if (done_) return;
  auto& shard = shards_.at(v->getWorker());
  if (!shard.sent.emplace(v->getLayer(), v->getFirstPosition()).second) return;
  shard.rows += v->getEndPosition() - v->getFirstPosition();
  if (std::ranges::any_of(shards_, [](const auto& s) { return s.second.rows < s.second.rows_due; })) return;
  done_ = true;
  now("done");
  send(order_.planner, msg::forget::make([&](wire::Forget::Builder& b) {
         b.setRequest(order_.request);
         b.setAttempt(order_.attempt);
       }));
}

void kv_transfer::fail(const failure& why) {
  if (failed_) return;
  failed_ = true;
  now("failed");
  send(order_.owner, msg::hand_over_failed::make([&](wire::HandOverFailed::Builder& b) {
         b.setRequest(order_.request);
         b.setAttempt(order_.attempt);
         write(b.initProblem(), why);
       }));
}

/// The request is over. Nothing that is on the way may lose its memory under it.
void kv_transfer::over() {
  over_ = true;
  now("draining");
  if (done_) {
    for (auto& [row, shard] : shards_) shard.halted = true;
    return drained(shards_.begin()->first);
  }
  for (const auto& [row, shard] : shards_) monitor(order_.workers[row]); // a dead one never says that it has halted
  send(order_.planner, msg::halt::make([&](wire::Halt::Builder& b) {
         b.setRequest(order_.request);
         b.setAttempt(order_.attempt);
       }),
       caf::actor_cast<handle>(this));
}

void kv_transfer::drained(std::uint32_t row) {
  shards_.at(row).halted = true;
  if (!over_ || std::ranges::any_of(shards_, [](const auto& s) { return !s.second.halted; })) return;
  const auto forget = msg::forget::make([&](wire::Forget::Builder& b) {
    b.setRequest(order_.request);
    b.setAttempt(order_.attempt);
  });
  send(order_.planner, forget);
  send(order_.decode, forget);
  quit();
}

} // namespace quadrant::actors
