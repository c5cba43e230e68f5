// actors/slot_fabric.hpp: binds the stream ops of gpu/fabric.hpp to transport/, for one micro-batch slot of one worker.
//
//   stream: [kernels][submit parts][wait sent][wait arrived][copy parts into place][kernels]
//                         │                        ▲
//                         ▼ transport              │ inbox: Arrival
// Threads the slot's stream and its host enqueue; arrivals come on the transport thread
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "actors/arrivals.hpp"
#include "actors/interfaces.hpp"
#include "actors/landing.hpp"
#include "actors/open_transfers.hpp"
#include "gpu/fabric.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::actors {

/// A worker as its peers see it.
struct peer {
  transport::address address;
  transport::remote_span landing;
};

struct expert_peer {
  peer group;
  std::int32_t first_expert = 0, end_expert = 0;
};

/// Whom a worker talks to, by the newest view.
struct neighbours {
  std::uint32_t tp_rank = 0;
  std::vector<peer> tp_ranks; ///< of the same stage, this worker included
  peer next_stage;            ///< the same rank; unused in the last stage
  std::uint32_t caller = 0;   ///< this worker's number among the expert groups' callers
  std::vector<expert_peer> experts;
};

/// What all slots of a worker share.
struct worker_link {
  transport::endpoint* endpoint = nullptr;
  transport::address self; ///< this worker's inbox
  std::span<std::byte> landing;
  attention_landing landing_layout, next_layout; ///< its own; the next stage's, or the next rank's
  dispatch_landing expert_layout;
  neighbours around;
  arrivals arrived;
  open_transfers open;                                  ///< that read its frames, landing or KV memory
  std::function<void(failure)> failed;                  ///< a peer could not be reached; any thread
  std::function<void(const msg::arrival&)> handed_over; ///< hears of KV in its pool, of first tokens; any thread
};

class slot_fabric final : public gpu::fabric {
public:
  /// arena: the slot's frame, registered as arena_key, so that expert groups can write into it.
  slot_fabric(std::shared_ptr<worker_link> link, std::uint32_t slot, std::span<std::byte> arena,
              std::uint64_t arena_key)
      : link_(std::move(link)), slot_(slot), arena_(arena), arena_key_(arena_key) {}

  void send_next(gpu::stream& s, const std::byte* from, std::size_t bytes) override;
  void receive_previous(gpu::stream& s, std::byte* to, std::size_t bytes) override;
  void send_state(gpu::stream& s, const std::byte* from, std::size_t bytes) override;
  void receive_state(gpu::stream& s, std::byte* to, std::size_t bytes) override;
  void gather(gpu::stream& s, const gpu::gather_op& op) override;
  void experts(gpu::stream& s, const gpu::expert_op& op) override;

private:
  /// To the one next in line: where its peer and place come from is only asked when the stream gets there.
  using place_fn = std::pair<peer, std::size_t> (*)(const worker_link&, std::uint32_t slot);
  using fill_fn = std::function<void(wire::Arrival::Builder&)>;
  void hand_on(gpu::stream& s, const std::byte* from, std::size_t bytes, place_fn place, fill_fn fill);
  void take_over(gpu::stream& s, arrival_key what, std::size_t landed, std::byte* to, std::size_t bytes);

  std::shared_ptr<worker_link> link_;
  std::uint32_t slot_;
  std::span<std::byte> arena_;
  std::uint64_t arena_key_;
  std::uint64_t gathers_ = 0, sent_steps_ = 0, received_steps_ = 0, sent_states_ = 0, received_states_ = 0,
                dispatches_ = 0;
};

/// Takes an Arrival for an attention worker's inbox.
void take_arrival(worker_link& link, std::span<const std::byte> message);

} // namespace quadrant::actors
