#include "model/model_config.hpp"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "config/hash.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

/// Reads fields and keeps the first thing that was wrong.
class field_reader {
public:
  field_reader(const json& object, std::string_view file) : object_(object), file_(file) {}

  std::int32_t integer(const char* key, std::int64_t low, std::int64_t high, std::optional<std::int64_t> fallback = std::nullopt) {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) {
      if (fallback) return std::int32_t(*fallback);
      return fail(key, "is missing"), 0;
    }
    if (!found->is_number_integer() || found->get<std::int64_t>() < low || found->get<std::int64_t>() > high)
      return fail(key, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high) + ", not " + found->dump()), 0;
    return std::int32_t(found->get<std::int64_t>());
  }
  double real(const char* key, double low, double high, double fallback) {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return fallback;
    if (!found->is_number() || found->get<double>() < low || found->get<double>() > high)
      return fail(key, "must be a number from " + std::to_string(low) + " to " + std::to_string(high) + ", not " + found->dump()), 0;
    return found->get<double>();
  }
  bool boolean(const char* key, bool fallback) {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return fallback;
    if (!found->is_boolean()) return fail(key, "must be true or false, not " + found->dump()), fallback;
    return found->get<bool>();
  }
  std::vector<std::int32_t> integers(const char* key) {
    std::vector<std::int32_t> list;
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return list;
    for (const auto& entry : found->is_array() ? *found : json::array({*found})) {
      if (!entry.is_number_integer() || entry.get<std::int64_t>() < 0 || entry.get<std::int64_t>() > INT32_MAX)
        return fail(key, "must be a whole number or a list of them"), list;
      list.push_back(entry.get<std::int32_t>());
    }
    return list;
  }
  void fail(const std::string& key, const std::string& what) {
    if (!problem_) problem_ = failure{errc::invalid_argument, std::string(file_) + ": " + key + " " + what};
  }
  [[nodiscard]] const std::optional<failure>& problem() const noexcept { return problem_; }

private:
  const json& object_;
  std::string_view file_;
  std::optional<failure> problem_;
};

std::optional<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

} // namespace

bool model_config::is_moe_layer(std::int32_t layer) const noexcept {
  return num_experts > 0 && (layer + 1) % decoder_sparse_step == 0 && std::ranges::find(mlp_only_layers, layer) == mlp_only_layers.end();
}

std::uint64_t model_config::fingerprint() const {
  std::ostringstream text;
  text << family << ' ' << hidden_size << ' ' << num_layers << ' ' << num_q_heads << ' ' << num_kv_heads << ' ' << head_dim << ' '
       << num_experts << ' ' << num_experts_per_tok << ' ' << moe_intermediate_size << ' ' << intermediate_size << ' '
       << decoder_sparse_step << ' ' << norm_topk_prob << tie_word_embeddings << attention_bias << ' ' << vocab_size << ' '
       << std::hexfloat << rms_norm_eps << ' ' << rope_theta;
  for (const auto layer : mlp_only_layers) text << ' ' << layer;
  return xxh3(text.str());
}

result<model_config> parse_model_config(std::string_view config_json, std::string_view generation_json, std::string_view name) {
  const auto object = json::parse(config_json, nullptr, false);
  if (object.is_discarded() || !object.is_object()) return {errc::corrupt, std::string(name) + ": is not a JSON object"};
  model_config c;
  if (object.contains("model_type") && object["model_type"].is_string()) c.family = object["model_type"];
  if (c.family != "qwen3_moe")
    return {errc::unavailable, std::string(name) + ": model_type '" + c.family + "' is not supported; known: qwen3_moe"};

  constexpr std::int64_t wide = 1 << 20;
  field_reader read(object, name);
  c.hidden_size = read.integer("hidden_size", 1, wide);
  c.num_layers = read.integer("num_hidden_layers", 1, 1024);
  c.num_q_heads = read.integer("num_attention_heads", 1, 1024);
  c.num_kv_heads = read.integer("num_key_value_heads", 1, 1024, c.num_q_heads);
  c.head_dim = read.integer("head_dim", 2, 1024, c.num_q_heads > 0 ? c.hidden_size / c.num_q_heads : 0);
  c.num_experts = read.integer("num_experts", 0, 4096, 0);
  c.num_experts_per_tok = read.integer("num_experts_per_tok", c.num_experts > 0 ? 1 : 0, 64, 0);
  c.moe_intermediate_size = read.integer("moe_intermediate_size", c.num_experts > 0 ? 1 : 0, wide, 0);
  c.intermediate_size = read.integer("intermediate_size", 1, wide, std::max(1, c.moe_intermediate_size));
  c.decoder_sparse_step = read.integer("decoder_sparse_step", 1, 1024, 1);
  c.mlp_only_layers = read.integers("mlp_only_layers");
  c.norm_topk_prob = read.boolean("norm_topk_prob", false);
  c.tie_word_embeddings = read.boolean("tie_word_embeddings", false);
  c.attention_bias = read.boolean("attention_bias", false);
  c.vocab_size = read.integer("vocab_size", 1, 1 << 24);
  c.max_position_embeddings = read.integer("max_position_embeddings", 1, 1 << 20);
  c.rms_norm_eps = float(read.real("rms_norm_eps", 1e-12, 1, 1e-6));
  c.rope_theta = read.real("rope_theta", 1, 1e12, 10000);
  if (const auto rope = object.find("rope_parameters"); rope != object.end() && rope->is_object())
    c.rope_theta = rope->value("rope_theta", c.rope_theta);
  if (const auto scaling = object.find("rope_scaling"); scaling != object.end() && !scaling->is_null())
    read.fail("rope_scaling", "is not supported yet");
  c.eos_token_ids = read.integers("eos_token_id");

  const auto need = [&](bool holds, const char* key, const std::string& what) {
    if (!holds && !read.problem()) read.fail(key, what);
  };
  need(c.num_kv_heads > 0 && c.num_q_heads % std::max(1, c.num_kv_heads) == 0, "num_attention_heads", "must divide by num_key_value_heads");
  need(c.head_dim % 2 == 0, "head_dim", "must be even");
  need(c.num_experts_per_tok <= c.num_experts, "num_experts_per_tok", "must be at most num_experts");
  for (const auto& [key, value] : {std::pair{"hidden_size", c.hidden_size}, {"moe_intermediate_size", c.moe_intermediate_size}, {"intermediate_size", c.intermediate_size}, {"head_dim", c.head_dim}})
    need(value % 8 == 0, key, "must be a multiple of 8");
  if (read.problem()) return *read.problem();

  if (const auto generation = json::parse(generation_json, nullptr, false); generation.is_object()) {
    field_reader more(generation, std::string(name) + " (generation_config.json)");
    if (auto ids = more.integers("eos_token_id"); !ids.empty()) c.eos_token_ids = std::move(ids);
    c.max_new_tokens = more.integer("max_new_tokens", 1, 1 << 20, c.max_new_tokens);
    if (more.problem()) return *more.problem();
  }
  return c;
}

result<model_config> read_model_config(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  const auto text = read_text(file);
  if (!text) return {errc::not_found, "cannot read " + file.string() + "; --model wants a Hugging Face checkpoint directory"};
  return parse_model_config(*text, read_text(directory / "generation_config.json").value_or("null"), file.string());
}

} // namespace quadrant::model
