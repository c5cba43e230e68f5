// quadrant inspect: what a checkpoint is, whether it is whole, and what of it fits where.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>

#include <nlohmann/json.hpp>

#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "model/footprint.hpp"

namespace quadrant::bin {
namespace {

using nlohmann::ordered_json;

constexpr double giga = 1e9;
constexpr std::array<gpu::precision, 4> precisions{gpu::precision::f32, gpu::precision::bf16, gpu::precision::w8a8,
                                                   gpu::precision::w4a8};

/// Bytes that programs could still have on this machine; 0 where it does not tell.
double free_memory() {
  std::ifstream in("/proc/meminfo");
  for (std::string word; in >> word;)
    if (double kib = 0; word == "MemAvailable:" && in >> kib) return kib * 1024;
  return 0;
}

const char* name_of(model::tensor_type t) {
  switch (t) {
  case model::tensor_type::f32: return "f32";
  case model::tensor_type::f16: return "f16";
  case model::tensor_type::bf16: return "bf16";
  case model::tensor_type::f8_e4m3: return "fp8";
  case model::tensor_type::i32: return "int4 (packed)";
  default: return "other";
  }
}

ordered_json describe(const model::model_config& c, const model::checkpoint_files& files,
                      const std::vector<double>& memories) {
  const auto count = model::count_parameters(c);
  ordered_json j = {{"family", c.family},
                    {"layers", c.num_layers},
                    {"hidden", c.hidden_size},
                    {"vocabulary", c.vocab_size},
                    {"positions", c.max_position_embeddings},
                    {"attention", c.is_latent() ? "latent" : "grouped queries"},
                    {"heads", c.num_q_heads},
                    {"kv_heads", c.num_kv_heads},
                    {"key_width", c.key_dim()},
                    {"value_width", c.value_dim()},
                    {"experts", c.num_experts},
                    {"experts_per_token", c.num_experts_per_tok},
                    {"expert_width", c.moe_intermediate_size},
                    {"shared_expert_width", c.shared_intermediate_size},
                    {"dense_layers", c.num_layers - std::int32_t(std::ranges::count(c.moe_layers, true))},
                    {"parameters", count.total},
                    {"active_parameters", count.active}};
  double stored = 0;
  std::map<std::string, double> by_type;
  for (const auto& name : files.names()) {
    const auto tensor = files.find(name);
    stored += double(tensor->data.size());
    by_type[name_of(tensor->type)] += double(tensor->data.size());
  }
  j["checkpoint_bytes"] = stored;
  j["stored_as"] = by_type;
  for (const auto p : precisions) {
    const auto f = model::footprint_of(c, gpu::numerics_of(p));
    ordered_json fits = ordered_json::array();
    for (const auto memory : memories)
      fits.push_back(
          {{"memory_bytes", memory}, {"kv_tokens", std::max(0.0, std::floor((memory - f.weights) / f.kv_per_token))}});
    j["precisions"].push_back({{"name", gpu::to_string(p)},
                               {"weight_bytes", f.weights},
                               {"kv_bytes_per_token", f.kv_per_token},
                               {"fits", fits}});
  }
  return j;
}

std::string tokens_text(double tokens) {
  char text[32];
  if (tokens < 1) return "-";
  std::snprintf(text, sizeof text,
                tokens < 1e4   ? "%.0f"
                : tokens < 1e7 ? "%.0fk"
                               : "%.0fM",
                tokens < 1e4   ? tokens
                : tokens < 1e7 ? tokens / 1e3
                               : tokens / 1e6);
  return text;
}

/// 6.4 M, 1.76 G
std::string count_text(double n) {
  char text[32];
  std::snprintf(text, sizeof text, n < 1e9 ? "%.3g M" : "%.4g G", n < 1e9 ? n / 1e6 : n / 1e9);
  return text;
}

void print(const std::string& where, const ordered_json& j) {
  const auto n = [&](const char* key) { return j[key].get<std::int64_t>(); };
  std::printf("%s: %s, %lld layers, hidden %lld, vocabulary %lld, %lld positions\n", where.c_str(),
              j["family"].get<std::string>().c_str(), (long long)n("layers"), (long long)n("hidden"),
              (long long)n("vocabulary"), (long long)n("positions"));
  std::printf("attention   %s: %lld heads, %lld kept, a key of %lld and a value of %lld\n",
              j["attention"].get<std::string>().c_str(), (long long)n("heads"), (long long)n("kv_heads"),
              (long long)n("key_width"), (long long)n("value_width"));
  if (n("experts") > 0) {
    std::printf("experts     %lld of width %lld, %lld a token", (long long)n("experts"), (long long)n("expert_width"),
                (long long)n("experts_per_token"));
    if (n("shared_expert_width") > 0) std::printf(", a shared one of %lld", (long long)n("shared_expert_width"));
    if (n("dense_layers") > 0) std::printf("; %lld dense layers", (long long)n("dense_layers"));
    std::printf("\n");
  }
  std::printf("parameters  %s, %s of them active for a token\n", count_text(double(n("parameters"))).c_str(),
              count_text(double(n("active_parameters"))).c_str());
  std::printf("stored      %.3f GB:", j["checkpoint_bytes"].get<double>() / giga);
  for (const auto& [type, bytes] : j["stored_as"].items())
    std::printf(" %s %.3f", type.c_str(), bytes.get<double>() / giga);
  std::printf("\n\n%-10s %11s %13s   tokens of KV that fit beside the weights in\n%-10s %11s %13s", "precision",
              "weights GB", "KV B a token", "", "", "");
  for (const auto& f : j["precisions"][0]["fits"]) std::printf(" %7.1f GB", f["memory_bytes"].get<double>() / giga);
  std::printf("\n");
  for (const auto& p : j["precisions"]) {
    std::printf("%-10s %11.3f %13.0f", p["name"].get<std::string>().c_str(), p["weight_bytes"].get<double>() / giga,
                p["kv_bytes_per_token"].get<double>());
    for (const auto& f : p["fits"]) std::printf(" %10s", tokens_text(f["kv_tokens"].get<double>()).c_str());
    std::printf("\n");
  }
}

int inspect(const std::string& directory, const std::vector<double>& gigabytes, bool json) {
  const auto config = model::read_model_config(directory);
  if (!config) return fail(config.error());
  const auto files = model::checkpoint_files::open(directory);
  if (!files) return fail(files.error());
  std::vector<double> memories;
  for (const auto g : gigabytes) memories.push_back(g * giga);
  if (memories.empty()) memories = {free_memory(), 16 * giga, 24 * giga, 48 * giga, 80 * giga};
  const auto j = describe(*config, *files, memories);
  if (json)
    std::printf("%s\n", j.dump().c_str());
  else
    print(directory, j);
  const auto wrong = model::check_tensors(*files, *config);
  for (const auto& line : wrong) std::fprintf(stderr, "quadrant: %s\n", line.c_str());
  return wrong.empty() ? 0 : 1;
}

} // namespace

command add_inspect(CLI::App& program) {
  struct inspect_flags {
    std::string model;
    std::vector<double> memory;
    bool json = false;
  };
  auto* app = program.add_subcommand("inspect", "Shows what a checkpoint is, whether it is whole, and what fits where");
  const auto flags = std::make_shared<inspect_flags>();
  app->add_option("model", flags->model, "checkpoint directory")->required();
  app->add_option("--memory", flags->memory, "GB to fit it into (default: what is free here, 16, 24, 48, 80)")
      ->check(CLI::PositiveNumber);
  app->add_flag("--json", flags->json, "one JSON object");
  return {app, [flags] { return inspect(flags->model, flags->memory, flags->json); }};
}

} // namespace quadrant::bin
