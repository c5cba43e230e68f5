#include "model/sampler_slots.hpp"

#include <utility>

#include "config/check.hpp"
#include "model/frame.hpp"

namespace quadrant::model {

std::shared_ptr<const void> sampler_slots::begin(const batch& step, const std::int32_t* input,
                                                 const std::int32_t* position, gpu::logit_rules* rules,
                                                 const gpu::event* masks) {
  std::vector<wanted_mask> wanted;
  std::shared_ptr<std::vector<entry>> unslotted; // of outputs without a slot: the first token of an answer
  const auto entry_of = [&](const batch::output& out) -> entry& {
    if (out.slot >= 0) return slots_[std::size_t(out.slot)];
    if (!unslotted) {
      unslotted = std::make_shared<std::vector<entry>>();
      unslotted->reserve(step.outputs.size()); // their places stay
    }
    return unslotted->emplace_back();
  };
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const auto& out = step.outputs[i];
    rules[i] = {};
    if (out.slot < 0 && !out.rules) continue;
    auto& e = entry_of(out);
    if (out.opens || out.slot < 0) e = {.rules = out.rules};
    if (!e.rules) continue;
    if (out.slot >= 0 && e.rules->counts_tokens && input[i] >= 0) e.made.push_back(input[i]); // below 0: it will end
    rules[i] = {.prompt = e.rules->prompt,
                .made = e.made,
                .bias = e.rules->bias,
                .mask = nullptr,
                .banned = {},
                .top_logprobs = e.rules->top_logprobs};
    if (position[i] < e.rules->banned_until) rules[i].banned = e.rules->banned;
    if (e.rules->json_object)
      wanted.push_back({&e, out.slot >= 0 ? input[i] : -1, out.opens || out.slot < 0, &rules[i]});
  }
  if (masks == nullptr) {
    QCHECK(wanted.empty());
    return unslotted;
  }
  run_([this, wanted = std::move(wanted), unslotted, made = *masks] {
    for (const auto& w : wanted) make(w);
    made.fire();
  });
  return unslotted;
}

/// A token that the form does not have changes nothing: its row is one past the end, and will be dropped.
void sampler_slots::make(const wanted_mask& wanted) const {
  auto& e = *wanted.of;
  if (wanted.starts)
    if (const auto json = json_()) e.form = json->start();
  if (e.form && wanted.token >= 0) (void)e.form->advance(wanted.token);
  e.mask = e.form ? e.form->mask() : nullptr;
  wanted.to->mask = e.mask ? e.mask->data() : nothing_.data();
}

} // namespace quadrant::model
