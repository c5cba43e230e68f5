// model/step_program.hpp: a forward pass as a list of pieces, cut where ranks must talk.
//
//   compute ▸ kv_turn ▸ compute ▸ kv_ready ▸ gather ▸ compute ▸ experts ▸ compute ▸ …
//
// A family writes the list once for a shard; enqueue() puts one step of it on a stream and returns at once. Between two
// cuts the stream runs without asking anyone. Nothing here waits: a receiving piece parks the stream.
// Threads building: one; enqueue: the worker that owns the stream
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "gpu/device.hpp"
#include "gpu/fabric.hpp"
#include "gpu/ops.hpp"
#include "model/frame.hpp"

namespace quadrant::model {

/// What the pieces of one step work on.
struct step_env {
  const gpu::ops_table* ops = nullptr;
  frame* f = nullptr;
  std::byte* kv_pool = nullptr;
  std::int32_t* token_slots = nullptr; ///< tokens that earlier steps left on the device
  sampler_slots* samplers = nullptr;   ///< null: no output has rules
};

/// The sizes that the host knows when it enqueues.
struct step_size {
  std::int32_t tokens = 0, logit_rows = 0;
};

struct compute_piece {
  std::string name;
  std::function<void(const step_env&, gpu::team&)> run;
};
struct gather_piece { ///< over tensor-parallel ranks; `op.rows` 0 skips it
  std::function<gpu::gather_op(frame&, step_size)> op;
};
struct experts_piece {
  std::function<gpu::expert_op(frame&)> op;
};
struct send_piece {};          ///< the residual stream to the next stage
struct receive_piece {};       ///< from the stage before
struct send_state_piece {};    ///< KV split: what attention has folded, to the next rank of the same heads
struct receive_state_piece {}; ///< from the rank before
struct kv_turn_piece {         ///< waits until the step before has stored its KV of this layer
  std::int32_t layer;
};
struct masks_piece {};  ///< waits until the outputs' rules have their masks, where the step has any
struct kv_ready_piece { ///< the KV of this layer is in the pool
  std::int32_t layer;
};
using piece = std::variant<compute_piece, gather_piece, experts_piece, send_piece, receive_piece, send_state_piece,
                           receive_state_piece, kv_turn_piece, masks_piece, kv_ready_piece>;

struct step_program {
  std::vector<piece> pieces;
  std::int32_t num_layers = 0;
  std::int32_t hidden_size = 0;
  std::int32_t state_words = 0; ///< floats of an attention_state for one token
};

/// One event per layer: the KV of a step is stored. The next step of the same worker takes its turn by them.
using kv_events = std::vector<gpu::event>;

struct step_hooks {
  const kv_events* previous = nullptr;              ///< of the step before, or null
  std::function<void(std::int32_t layer)> kv_ready; ///< called on the device thread; may be empty
  std::function<void()> done;                       ///< likewise, after the last piece
  std::optional<gpu::event> masks{};                ///< fired by the step's samplers: an output has a form
};

/// Enqueues one step and returns the events of its KV.
kv_events enqueue(const step_program& program, const step_env& env, batch step, gpu::stream& stream,
                  gpu::fabric* fabric, step_hooks hooks);

} // namespace quadrant::model
