#include "model/step_program.hpp"

#include <memory>
#include <utility>

namespace quadrant::model {
namespace {

/// Puts the pieces of one step on a stream, runs of computes as one launch.
class step_enqueuer {
public:
  step_enqueuer(const step_program& program, const step_env& env, step_size size, gpu::stream& stream,
                gpu::fabric* fabric, const step_hooks& hooks, const kv_events& events)
      : program_(program), env_(env), size_(size), stream_(stream), fabric_(fabric), hooks_(hooks), events_(events) {}

  void operator()(const compute_piece& p) { run_.push_back(&p); }
  void operator()(const gather_piece& p) {
    const auto op = p.op(*env_.f, size_);
    if (op.rows == 0) return;
    cut().gather(stream_, op);
  }
  void operator()(const experts_piece& p) { cut().experts(stream_, p.op(*env_.f)); }
  void operator()(const send_piece&) {
    cut().send_next(stream_, reinterpret_cast<const std::byte*>(env_.f->x), residual_bytes());
  }
  void operator()(const receive_piece&) {
    cut().receive_previous(stream_, reinterpret_cast<std::byte*>(env_.f->x), residual_bytes());
  }
  void operator()(const send_state_piece&) {
    cut().send_state(stream_, reinterpret_cast<const std::byte*>(env_.f->folded), state_bytes());
  }
  void operator()(const receive_state_piece&) {
    cut().receive_state(stream_, reinterpret_cast<std::byte*>(env_.f->folded_before), state_bytes());
  }
  void operator()(const kv_turn_piece& p) {
    if (hooks_.previous == nullptr || (*hooks_.previous)[std::size_t(p.layer)].fired()) return;
    flush();
    stream_.wait((*hooks_.previous)[std::size_t(p.layer)]);
  }
  void operator()(const masks_piece&) {
    if (!hooks_.masks) return;
    flush();
    stream_.wait(*hooks_.masks);
  }
  void operator()(const kv_ready_piece& p) {
    flush();
    // Reported before the next step may store its own: so a hand-over hears of the chunks of a prompt in order.
    if (hooks_.kv_ready) stream_.launch([ready = hooks_.kv_ready, layer = p.layer](gpu::team&) { ready(layer); });
    stream_.record(events_[std::size_t(p.layer)]);
  }

  void flush() {
    if (run_.empty()) return;
    stream_.launch([env = env_, run = std::exchange(run_, {})](gpu::team& team) {
      for (const auto* p : run) p->run(env, team);
    });
  }

private:
  gpu::fabric& cut() {
    QCHECK(fabric_ != nullptr);
    flush();
    return *fabric_;
  }
  [[nodiscard]] std::size_t residual_bytes() const {
    return std::size_t(size_.tokens) * std::size_t(program_.hidden_size) * sizeof(float);
  }
  [[nodiscard]] std::size_t state_bytes() const {
    return std::size_t(size_.tokens) * std::size_t(program_.state_words) * sizeof(float);
  }

  const step_program& program_;
  const step_env& env_;
  step_size size_;
  gpu::stream& stream_;
  gpu::fabric* fabric_;
  const step_hooks& hooks_;
  const kv_events& events_;
  std::vector<const compute_piece*> run_;
};

} // namespace

kv_events enqueue(const step_program& program, const step_env& env, batch step, gpu::stream& stream,
                  gpu::fabric* fabric, step_hooks hooks) {
  kv_events events(std::size_t(program.num_layers));
  const step_size size{.tokens = step.tokens(), .logit_rows = step.logit_rows()};
  stream.launch([env, step = std::move(step), masks = hooks.masks](gpu::team&) {
    env.f->begin(step, env.token_slots, env.samplers, masks ? &*masks : nullptr);
  });
  step_enqueuer put(program, env, size, stream, fabric, hooks, events);
  for (const auto& p : program.pieces) std::visit(put, p);
  put.flush();
  if (hooks.done) stream.launch([done = std::move(hooks.done)](gpu::team&) { done(); });
  return events;
}

} // namespace quadrant::model
