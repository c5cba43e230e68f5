#include "actors/attention_host.hpp"

#include <boost/asio/post.hpp>

#include "actors/wire.hpp"

namespace quadrant::actors {

attention_host::attention_host(parts p)
    : parts_(std::move(p)), link_(std::make_shared<worker_link>()), kv_memory_(parts_.shard->kv.pool_bytes()),
      landing_memory_(parts_.plan->landing_of(parts_.id).bytes()), token_slots_(std::size_t(parts_.token_slots)),
      masks_(parts_.pump || !parts_.json ? nullptr : std::make_unique<boost::asio::thread_pool>(1)),
      samplers_(parts_.token_slots, parts_.shard->config.vocab_size, mask_maker(),
                [json = parts_.json]() -> std::shared_ptr<const model::grammar> {
                  return json && json->get() ? *json->get() : nullptr;
                }),
      slot_has_form_(std::size_t(parts_.token_slots), false),
      device_(std::make_unique<gpu::device>(parts_.name, parts_.team, parts_.pump)) {
  auto& endpoint = *parts_.endpoint;
  const auto& plan = *parts_.plan;
  kv_ref_ = endpoint.register_memory({kv_memory_.data(), kv_memory_.size()}, "KV of " + parts_.name);
  landing_ref_ = endpoint.register_memory({landing_memory_.data(), landing_memory_.size()}, "rows for " + parts_.name);
  link_->endpoint = &endpoint;
  link_->landing = {landing_memory_.data(), landing_memory_.size()};
  link_->landing_layout = plan.landing_of(parts_.id);
  if (parts_.id.kind == role::prefill && parts_.id.stage + 1 < plan.layout().prefill_pp)
    link_->next_layout = plan.landing_of({role::prefill, parts_.id.stage + 1, parts_.id.rank});
  if (!parts_.shard->spec.merges_last()) link_->next_layout = plan.landing_of({role::decode, 0, parts_.id.rank + 1});
  if (plan.num_groups(parts_.id.kind) > 0) link_->expert_layout = plan.dispatch_of(parts_.id.kind);
  link_->failed = parts_.failed;
  link_->self = endpoint.self();
  link_->self.inbox =
      endpoint.open_inbox([link = link_](std::span<const std::byte> message) { take_arrival(*link, message); });

  for (std::uint32_t i = 0; i < plan.slots_of(parts_.id.kind); ++i) {
    slot s;
    s.frame = std::make_unique<model::frame>(parts_.shard->config, parts_.shard->numerics, parts_.shard->spec,
                                             parts_.shard->shape, plan.frame_of(parts_.id.kind));
    s.arena_key = endpoint.register_memory(s.frame->arena(), "a frame of " + parts_.name).key;
    s.stream = device_->make_stream();
    s.fabric = std::make_unique<slot_fabric>(link_, i, s.frame->arena(), s.arena_key);
    slots_.push_back(std::move(s));
  }
}

/// First nothing runs any more, then nothing reads, then nothing can write.
attention_host::~attention_host() {
  device_.reset();
  if (masks_) masks_->join();
  link_->open.wait_for_none();
  parts_.endpoint->close_inbox(link_->self.inbox);
  parts_.endpoint->deregister(kv_ref_.key);
  parts_.endpoint->deregister(landing_ref_.key);
  for (const auto& s : slots_) parts_.endpoint->deregister(s.arena_key);
}

void attention_host::connect(const std::vector<peer>& peers) { link_->around = parts_.plan->around(parts_.id, peers); }

void attention_host::tell_first_rank(const msg::arrival& message) {
  send(link_->around.tp_ranks[0].address, {.slices = {}, .message = to_bytes(message)},
       [link = link_](const result<void>& outcome) {
         if (!outcome) link->failed(outcome.error());
       });
}

model::sampler_slots::background attention_host::mask_maker() const {
  if (!masks_) return [](const std::function<void()>& task) { task(); };
  return [pool = masks_.get()](std::function<void()> task) { boost::asio::post(*pool, std::move(task)); };
}

bool attention_host::has_form(const model::batch& step) {
  bool any = false;
  for (const auto& out : step.outputs) {
    const bool its = out.rules && out.rules->json_object;
    if (out.opens) slot_has_form_[std::size_t(out.slot)] = its;
    any = any || (out.slot >= 0 ? slot_has_form_[std::size_t(out.slot)] : its);
  }
  return any && parts_.shard->shape.samples;
}

void attention_host::launch(std::uint32_t index, model::batch step, launch_hooks hooks) {
  auto& s = slots_[index];
  const model::step_env env{.ops = parts_.ops,
                            .f = s.frame.get(),
                            .kv_pool = kv_memory_.data(),
                            .token_slots = token_slots_.data(),
                            .samplers = parts_.shard->shape.samples ? &samplers_ : nullptr};
  model::step_hooks step_hooks{.previous = hooks.in_order && !previous_.empty() ? &previous_ : nullptr,
                               .kv_ready = std::move(hooks.kv_ready),
                               .done = {},
                               .masks = has_form(step) ? std::optional<gpu::event>(std::in_place) : std::nullopt};
  if (hooks.done) step_hooks.done = [frame = s.frame.get(), done = std::move(hooks.done)] { done(*frame); };
  previous_ =
      model::enqueue(parts_.shard->program, env, std::move(step), *s.stream, s.fabric.get(), std::move(step_hooks));
}

} // namespace quadrant::actors
