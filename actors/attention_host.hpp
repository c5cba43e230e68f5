// actors/attention_host.hpp: what a prefill shard and a decode worker have in common: a part of the model on a device,
// its KV pool, and one frame, stream and fabric for each micro-batch slot.
//
//   actor ─ launch(slot, batch) ─▶ stream of the slot ─▶ done on the device thread ─▶ a message to the actor
// Threads built by the node agent; launch: the owning actor
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "actors/answer_grammar.hpp"
#include "actors/cluster_plan.hpp"
#include "actors/slot_fabric.hpp"
#include "gpu/backend.hpp"
#include "gpu/device.hpp"
#include "model/family.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::actors {

class attention_host {
public:
  struct parts {
    std::string name;
    worker_id id;
    std::shared_ptr<const cluster_plan> plan;
    std::shared_ptr<const model::shard> shard;
    const gpu::ops_table* ops;
    std::shared_ptr<transport::endpoint> endpoint;
    gpu::team_options team;
    std::shared_ptr<gpu::device_pump> pump; ///< null: the device has threads of its own
    std::int32_t token_slots = 0;
    std::shared_ptr<const answer_grammar> json; ///< where the shard samples
    std::function<void(failure)> failed;        ///< a peer is lost; any thread
  };
  explicit attention_host(parts p);
  ~attention_host();

  [[nodiscard]] const parts& about() const noexcept { return parts_; }
  [[nodiscard]] transport::address address() const { return link_->self; }
  [[nodiscard]] transport::remote_span landing() const noexcept { return landing_ref_; }
  [[nodiscard]] transport::remote_span kv_pool() const noexcept { return kv_ref_; }
  [[nodiscard]] std::byte* kv_bytes() const noexcept { return kv_memory_.data(); }
  [[nodiscard]] gpu::device_times device_times() const { return device_->times(); }

  void connect(const std::vector<peer>& peers);
  /// What hears of hand-overs to this worker: of KV in its pool, of first tokens; on any thread.
  void on_hand_over(std::function<void(const msg::arrival&)> hears) { link_->handed_over = std::move(hears); }

  struct launch_hooks {
    std::function<void(std::int32_t layer)> kv_ready;
    std::function<void(const model::frame&)> done; ///< on the device thread: read the results before it returns
    bool in_order = false;                         ///< KV of each layer after that of the launch before
  };
  void launch(std::uint32_t slot, model::batch step, launch_hooks hooks);
  /// Passes a message on to the inbox of tensor-parallel rank 0.
  void tell_first_rank(const msg::arrival& message);
  /// Sends from this worker's KV memory.
  void send(const transport::address& to, transport::transfer what, transport::completion done) {
    link_->open.submit(*parts_.endpoint, to, std::move(what), std::move(done));
  }

private:
  [[nodiscard]] model::sampler_slots::background mask_maker() const;
  /// Must one of the step's outputs have a form?
  bool has_form(const model::batch& step);

  struct slot {
    std::unique_ptr<model::frame> frame;
    std::uint64_t arena_key;
    std::shared_ptr<gpu::stream> stream;
    std::unique_ptr<slot_fabric> fabric;
  };
  parts parts_;
  std::shared_ptr<worker_link> link_;
  gpu::aligned_bytes kv_memory_, landing_memory_;
  std::vector<std::int32_t> token_slots_;
  std::unique_ptr<boost::asio::thread_pool> masks_; ///< makes them beside the device; null: the device does
  model::sampler_slots samplers_;
  std::vector<bool> slot_has_form_;
  transport::remote_span kv_ref_, landing_ref_;
  std::vector<slot> slots_;
  model::kv_events previous_;
  std::unique_ptr<gpu::device> device_;
};

} // namespace quadrant::actors
