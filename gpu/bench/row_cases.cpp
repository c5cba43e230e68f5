// What lies between the linears, over 512 rows: bytes in and out, against reading as many from the same caches.
#include <memory>

#include "gpu/bench/kernel_bench.hpp"
#include "gpu/bench/operands.hpp"

namespace quadrant::gpu::bench {
namespace {

constexpr std::int32_t rows = 512, hidden = 1024;

void measure(kernel_bench& b, const char* name, shape_numbers shape, double bytes, std::function<void()> run) {
  b.measure({.name = name,
             .shape = std::move(shape),
             .work = bytes,
             .unit = "GB/s",
             .limit_name = "rereading as many bytes",
             .limit = [&b, bytes] { return b.limits.reread_gb_s(b.threads, std::size_t(bytes)); },
             .run = std::move(run)});
}

void norms(kernel_bench& b) {
  if (!b.wants("rms_norm_quantise")) return;
  const auto x = std::make_shared<act_rows>(rows, hidden);
  const auto weight = std::make_shared<std::vector<float>>(numbers(hidden));
  measure(b, "rms_norm_quantise", {{"rows", rows}, {"cols", hidden}}, 5.0 * rows * hidden, [&b, x, weight] {
    b.ops.rms_norm(b.threads, {.x = x->f.data(),
                               .weight = weight->data(),
                               .eps = 1e-6f,
                               .rows = rows,
                               .cols = hidden,
                               .round_bf16 = false,
                               .f = nullptr,
                               .out = x->ints()});
  });
}

void routing(kernel_bench& b) {
  if (!b.wants("route")) return;
  constexpr std::int32_t experts = 64, top_k = 8;
  struct operands {
    act_rows x{rows, hidden};
    packed_weight gate = pack(dtype::f32, numbers(std::size_t(experts) * hidden), experts, hidden, 0);
    std::vector<std::int32_t> expert = std::vector<std::int32_t>(std::size_t(rows) * top_k);
    std::vector<float> weight = std::vector<float>(std::size_t(rows) * top_k);
  };
  const auto o = std::make_shared<operands>();
  measure(b, "route", {{"tokens", rows}, {"hidden", hidden}, {"experts", experts}, {"top_k", top_k}},
          4.0 * rows * hidden + 4.0 * experts * hidden, [&b, o] {
            b.ops.route(b.threads, {.x = o->x.f.data(),
                                    .gate = &o->gate,
                                    .tokens = rows,
                                    .num_experts = experts,
                                    .top_k = top_k,
                                    .how = {.renormalise = true},
                                    .bias = nullptr,
                                    .expert = o->expert.data(),
                                    .weight = o->weight.data()});
          });
}

/// What a request may ask of its rows beside the numbers: half the tokens allowed by a mask, answers of 1,000 tokens.
struct asked_rules {
  bool logprobs = false, mask = false, penalties = false;
};

void sampling_rows(kernel_bench& b, const char* name, sampling s, asked_rules asked = {}) {
  if (!b.wants(name)) return;
  constexpr std::int32_t vocab = 32000, outputs = 32;
  struct operands {
    std::vector<float> logits = numbers(std::size_t(outputs) * vocab);
    std::vector<sampling> params;
    std::vector<std::int32_t> positions = std::vector<std::int32_t>(outputs, 7), token = positions;
    std::vector<std::uint64_t> digest = std::vector<std::uint64_t>(outputs);
    std::vector<std::uint64_t> mask = std::vector<std::uint64_t>(vocab / 64, 0x5555555555555555);
    std::vector<std::int32_t> made = std::vector<std::int32_t>(1000);
    std::vector<logit_rules> rules;
    std::vector<token_logprob> logprobs = std::vector<token_logprob>(outputs * (1 + max_top_logprobs));
  };
  const auto o = std::make_shared<operands>();
  o->params.assign(outputs, s);
  for (std::size_t i = 0; i < o->made.size(); ++i) o->made[i] = std::int32_t(i * 7919 % vocab);
  o->rules.assign(
      outputs, {.mask = asked.mask ? o->mask.data() : nullptr, .top_logprobs = asked.logprobs ? max_top_logprobs : -1});
  if (asked.penalties)
    for (auto& r : o->rules) r.made = o->made;
  measure(b, name, {{"rows", outputs}, {"vocab", vocab}}, 4.0 * outputs * vocab, [&b, o] {
    b.ops.sample(b.threads, {.logits = o->logits.data(),
                             .rows = outputs,
                             .vocab = vocab,
                             .params = o->params.data(),
                             .positions = o->positions.data(),
                             .slot = nullptr,
                             .token_slots = nullptr,
                             .token = o->token.data(),
                             .digest = o->digest.data(),
                             .rules = o->rules.data(),
                             .logprobs = o->logprobs.data()});
  });
}

} // namespace

void row_cases(kernel_bench& b) {
  norms(b);
  routing(b);
  sampling_rows(b, "sample_greedy", {});
  sampling_rows(b, "sample_gumbel", {.temperature = 1});
  sampling_rows(b, "sample_top_k_top_p", {.temperature = 0.8f, .top_p = 0.9f, .top_k = 40});
  sampling_rows(b, "sample_logprobs", {}, {.logprobs = true});
  sampling_rows(b, "sample_mask", {}, {.mask = true});
  sampling_rows(b, "sample_penalties", {.presence = 0.5f, .repetition = 1.1f}, {.penalties = true});
}

} // namespace quadrant::gpu::bench
