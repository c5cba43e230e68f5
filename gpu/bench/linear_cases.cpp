// Linears: shapes of a 16-layer model of 1.8 B parameters (hidden 1024, 64 experts of width 512, 3,072 columns of q, k
// and v).
#include <cstring>
#include <memory>

#include "gpu/bench/kernel_bench.hpp"
#include "gpu/bench/operands.hpp"

namespace quadrant::gpu::bench {
namespace {

constexpr std::int32_t group = 128;

packed_weight copy_of(const packed_weight& w) {
  packed_weight copy;
  copy.type = w.type, copy.in = w.in, copy.out = w.out, copy.group = w.group, copy.zero = w.zero;
  copy.data = aligned_bytes::of_weight(w.data.size());
  copy.scale = aligned_bytes::of_weight(w.scale.size());
  std::memcpy(copy.data.data(), w.data.data(), w.data.size());
  std::memcpy(copy.scale.data(), w.scale.data(), w.scale.size());
  return copy;
}

/// Layers of experts, so many that their weights do not stay in the caches where that is wanted.
struct expert_layers {
  std::vector<packed_weight> weights;
  std::vector<const packed_weight*> pointers;
  std::vector<std::int32_t> offsets{0};
  act_rows x;
  std::vector<std::uint16_t> y; ///< bf16, as expert rows are
  std::int32_t experts, layers, next = 0;
  double weight_bytes = 0; ///< of a layer

  expert_layers(dtype type, std::int32_t tokens, std::int32_t num_experts, std::int32_t k, std::int32_t n,
                std::int32_t num_layers)
      : x(tokens * num_experts, k), y(std::size_t(tokens) * std::size_t(num_experts) * std::size_t(n)),
        experts(num_experts), layers(num_layers) {
    weights.push_back(pack(type, numbers(std::size_t(n) * std::size_t(k)), n, k, group));
    while (std::int32_t(weights.size()) < experts * layers) weights.push_back(copy_of(weights.front()));
    for (const auto& w : weights) pointers.push_back(&w);
    for (std::int32_t e = 0; e < experts; ++e) offsets.push_back(offsets.back() + tokens);
    weight_bytes = double(experts) * double(weights[0].data.size() + weights[0].scale.size());
  }
  void run(kernel_bench& b) {
    b.ops.grouped_linear(b.threads, {.x = x.ints(),
                                     .x_row = nullptr,
                                     .offsets = offsets.data(),
                                     .num_experts = experts,
                                     .weight = pointers.data() + std::ptrdiff_t(next) * experts,
                                     .y = y.data(),
                                     .y_type = dtype::bf16});
    next = (next + 1) % layers;
  }
};

void gemm(kernel_bench& b, const char* name, dtype type, std::int32_t tokens, std::int32_t experts, std::int32_t k,
          std::int32_t n) {
  if (!b.wants(name)) return;
  const auto e = std::make_shared<expert_layers>(type, tokens, experts, k, n, 1);
  b.measure({.name = name,
             .shape = {{"tokens_per_group", tokens}, {"groups", experts}, {"k", k}, {"n", n}, {"scale_group", group}},
             .work = 2.0 * tokens * experts * k * n,
             .unit = "GOPS",
             .limit_name = "int8 peak",
             .limit = [&b] { return b.limits.int8_gops(b.threads); },
             .run = [&b, e] { e->run(b); }});
}

/// gate and up of width n / 2, SwiGLU and quantising with them.
void gate_up(kernel_bench& b, std::int32_t tokens, std::int32_t experts, std::int32_t k, std::int32_t n) {
  if (!b.wants("w4a8_gate_up")) return;
  const auto e = std::make_shared<expert_layers>(dtype::i4, tokens, experts, k, n, 1);
  const auto out = std::make_shared<act_rows>(tokens * experts, n / 2, group);
  b.measure({.name = "w4a8_gate_up",
             .shape = {{"tokens_per_group", tokens}, {"groups", experts}, {"k", k}, {"n", n}, {"scale_group", group}},
             .work = 2.0 * tokens * experts * k * n,
             .unit = "GOPS",
             .limit_name = "int8 peak",
             .limit = [&b] { return b.limits.int8_gops(b.threads); },
             .run =
                 [&b, e, out] {
                   b.ops.gate_up(b.threads, {.x = e->x.ints(),
                                             .x_row = nullptr,
                                             .offsets = e->offsets.data(),
                                             .num_experts = e->experts,
                                             .weight = e->pointers.data(),
                                             .round_bf16 = false,
                                             .gate_up = nullptr,
                                             .out = out->ints()});
                 }});
}

void gemv(kernel_bench& b, const char* name, dtype type, std::int32_t tokens, std::int32_t k, std::int32_t n) {
  if (!b.wants(name)) return;
  constexpr std::int32_t experts = 64;
  const auto layers =
      std::int32_t((std::int64_t(512) << 20) / (std::int64_t(experts) * k * n) * (type == dtype::i4 ? 2 : 1));
  const auto e = std::make_shared<expert_layers>(type, tokens, experts, k, n, layers);
  b.measure({.name = name,
             .shape = {{"tokens_per_group", tokens},
                       {"groups", experts},
                       {"k", k},
                       {"n", n},
                       {"scale_group", group},
                       {"weight_mb", e->weight_bytes * layers * 1e-6}},
             .work = e->weight_bytes,
             .unit = "GB/s",
             .limit_name = "DRAM read",
             .limit = [&b] { return b.limits.dram_gb_s(b.threads); },
             .run = [&b, e] { e->run(b); }});
}

} // namespace

void linear_cases(kernel_bench& b) {
  for (const std::int32_t tokens : {512, 128, 64, 32, 8}) {
    gemm(b, "w4a8_gemm", dtype::i4, tokens, tokens >= 512 ? 8 : 64, 1024, 1024);
    gemm(b, "w4a8_gemm", dtype::i4, tokens, tokens >= 512 ? 8 : 64, 512, 1024);
  }
  gemm(b, "w4a8_gemm", dtype::i4, 512, 1, 512, 512);
  for (const std::int32_t tokens : {512, 128, 64, 32}) gate_up(b, tokens, tokens >= 512 ? 8 : 64, 1024, 1024);
  for (const std::int32_t tokens : {512, 128, 32})
    gemm(b, "w8a8_gemm", dtype::i8, tokens, tokens == 512 ? 1 : 16, 1024, 3072);
  for (const std::int32_t tokens : {1, 2, 4, 8}) gemv(b, "w4a8_gemv", dtype::i4, tokens, 1024, 1024);
  gemv(b, "w4a8_gemv", dtype::i4, 1, 512, 1024);
  gemv(b, "w8a8_gemv", dtype::i8, 1, 1024, 1024);
}

} // namespace quadrant::gpu::bench
