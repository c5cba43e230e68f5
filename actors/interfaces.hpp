// actors/interfaces.hpp: the map of the cluster: which actor takes which messages.
//
//   gateway ─spawns─▶ request ⇄ router
//                     request ⇄ decode (lease, tokens)
//                     request ─▶ planner ─▶ shards (micro-batches) ─▶ request (first token)
//                     request ⇄ kv_transfer ◀─ shards (sent); when it is over early: ─▶ planner ─▶ shards (halt)
//   shards ─▶ decode: KV and the first token, on the data plane                      shards, decode ⇄ expert groups: on the data plane          supervisor ⇄ node agents ─spawn─▶ workers
//
// The schemas in messages/ say what each message promises. A control message may come twice or late; ids, attempts and
// step numbers make that harmless. What arrives on the data plane comes once, or its transfer has failed.
#pragma once
#include <vector>

#include <caf/all.hpp>

#include "actors/envelope.hpp"
#include "actors/messages/cluster.capnp.h"
#include "actors/messages/data.capnp.h"
#include "actors/messages/serving.capnp.h"
#include "actors/messages/steps.capnp.h"

namespace quadrant::actors {

namespace msg {
using request_spec = envelope<wire::RequestSpec>;
using admit = envelope<wire::Admit>;
using route = envelope<wire::Route>;
using forget = envelope<wire::Forget>;
using reserve = envelope<wire::Reserve>;
using lease = envelope<wire::Lease>;
using prefill = envelope<wire::Prefill>;
using first_token = envelope<wire::FirstToken>;
using logit_rows = envelope<wire::LogitRows>;
using hand_over_failed = envelope<wire::HandOverFailed>;
using token = envelope<wire::Token>;
using micro_batch = envelope<wire::MicroBatch>;
using micro_batch_done = envelope<wire::MicroBatchDone>;
using decode_step = envelope<wire::DecodeStep>;
using decode_step_done = envelope<wire::DecodeStepDone>;
using arrival = envelope<wire::Arrival>;
using kv_sent = envelope<wire::KvSent>;
using halt = envelope<wire::Halt>;
using halted = envelope<wire::Halted>;
using join = envelope<wire::Join>;
using assign = envelope<wire::Assign>;
using assigned = envelope<wire::Assigned>;
using view = envelope<wire::View>;
using worker_down = envelope<wire::WorkerDown>;
using status_query = envelope<wire::StatusQuery>;
using status_report = envelope<wire::StatusReport>;
} // namespace msg

/// Handles that travel beside a message: Cap'n Proto cannot hold them.
using handle = caf::strong_actor_ptr;
using handles = std::vector<caf::strong_actor_ptr>;

using cancel_atom = caf::atom_constant<caf::atom("cancel")>;
using timeout_atom = caf::atom_constant<caf::atom("timeout")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;
using launched_atom = caf::atom_constant<caf::atom("launched")>;
using ready_atom = caf::atom_constant<caf::atom("ready")>;
using begin_atom = caf::atom_constant<caf::atom("begin")>;

template <class... Messages>
using takes = caf::reacts_to<Messages...>;

/// What every worker answers to.
#define QUADRANT_WORKER_MESSAGES takes<msg::view, handles>, caf::replies_to<msg::status_query>::with<msg::status_report>

using request_actor =
    caf::typed_actor<takes<msg::lease>, takes<msg::first_token>, takes<msg::logit_rows>, takes<msg::hand_over_failed>,
                     takes<msg::token>, takes<msg::worker_down>, takes<begin_atom>, takes<cancel_atom>,
                     takes<cancel_atom, std::int32_t>, takes<timeout_atom>>;
using router_actor = caf::typed_actor<caf::replies_to<msg::admit>::with<msg::route>, takes<msg::forget>,
                                      takes<msg::worker_down>, QUADRANT_WORKER_MESSAGES>;
using planner_actor = caf::typed_actor<takes<msg::prefill, handle>, takes<msg::halt, handle>, takes<msg::forget>,
                                       takes<msg::micro_batch_done>, QUADRANT_WORKER_MESSAGES>;
using shard_actor =
    caf::typed_actor<takes<msg::micro_batch, handles>, takes<msg::halt, handle>, QUADRANT_WORKER_MESSAGES>;
using decode_actor = caf::typed_actor<takes<msg::reserve>, takes<msg::arrival>, takes<msg::forget>,
                                      takes<msg::decode_step>, takes<msg::decode_step_done>, QUADRANT_WORKER_MESSAGES>;
using expert_actor =
    caf::typed_actor<takes<msg::arrival>, takes<launched_atom, std::uint64_t>, QUADRANT_WORKER_MESSAGES>;
using kv_transfer_actor = caf::typed_actor<takes<msg::kv_sent>, takes<msg::halted>, takes<msg::forget>>;
using node_actor = caf::typed_actor<caf::replies_to<msg::assign>::with<msg::assigned, handles>,
                                    caf::replies_to<msg::status_query>::with<msg::status_report>>;
using supervisor_actor =
    caf::typed_actor<takes<msg::join, handle>, takes<msg::worker_down>, takes<timeout_atom, msg::worker_down>,
                     caf::replies_to<ready_atom>::with<msg::view, handles>,
                     caf::replies_to<msg::status_query>::with<msg::status_report>>;
/// Whoever can be asked how it is.
using reporting_actor = caf::typed_actor<caf::replies_to<msg::status_query>::with<msg::status_report>>;

#undef QUADRANT_WORKER_MESSAGES

} // namespace quadrant::actors
