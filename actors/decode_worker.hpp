// actors/decode_worker.hpp: one tensor-parallel rank of the decode replica. Rank 0 decides: it leases slots and blocks,
// schedules steps ahead of the device, and tells tokens; the other ranks execute its numbered step log and sample the
// same tokens themselves.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "actors/attention_host.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "scheduler/decode_scheduler.hpp"

namespace quadrant::actors {

class decode_worker : public observed<decode_actor::base> {
public:
  decode_worker(caf::actor_config& config, std::shared_ptr<attention_host> host);
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  /// The samples of a request.
  struct sequences {
    msg::reserve order;
    request_actor request;
    std::int64_t slices_due = 0; ///< of the prompt's KV that have not arrived
    std::vector<std::int32_t> first_tokens{};
    std::int64_t prompt_ended_ns = 0; ///< 0: its first step has been seen
  };
  /// The time between two steps of a micro-batch with no new sequence between them: what the framework costs the
  /// device.
  struct gap_meter {
    std::int64_t last_end_ns = 0, idle_ns = 0, step_ns = 0;
    void step(std::int64_t started_ns, std::int64_t ended_ns);
    void rest() { last_end_ns = 0; } ///< nothing to do: what follows is no gap
  };

  /// Null where it is not known, or this is not its attempt.
  [[nodiscard]] sequences* find(scheduler::sequence_id id, std::uint32_t attempt);
  /// (block, layer, head) slices of a prompt's KV that have to come, over all ranks.
  [[nodiscard]] std::int64_t slices_of(std::int32_t prompt_tokens, const scheduler::decode_grant& grant) const;
  void handed_over(const msg::arrival& message);
  void reserve(const msg::reserve& message);
  void forget(const msg::forget& message);
  void write_place(wire::KvPlace::Builder to, std::int32_t prompt_tokens, const scheduler::decode_grant& grant) const;
  void grant_waiting();
  void launch_all();
  void execute(const msg::decode_step& message);
  void commit(const msg::decode_step_done& message);
  [[nodiscard]] msg::status_report report() const;

  std::shared_ptr<attention_host> host_;
  scheduler::decode_scheduler core_; ///< used by rank 0
  std::map<scheduler::sequence_id, sequences> sequences_;
  std::deque<std::pair<msg::reserve, request_actor>> waiting_;
  std::vector<decode_actor> followers_;
  std::vector<gap_meter> gaps_;        ///< by micro-batch
  std::int64_t last_hand_over_ns_ = 0; ///< from the end of a prompt's prefill, on this machine, to its first step
};

} // namespace quadrant::actors
