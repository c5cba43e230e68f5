#include "model/model_config.hpp"

#include <algorithm>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "config/file.hpp"
#include "config/hash.hpp"
#include "model/json_fields.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

/// Of a field whose value is an object; an empty object where it is absent.
const json& object_at(const json& parent, const char* key) {
  static const json empty = json::object();
  const auto found = parent.find(key);
  return found != parent.end() && found->is_object() ? *found : empty;
}

/// v4 writes rope_theta and rope_scaling, v5 rope_parameters with both inside.
double rope_theta_of(const json& object, json_fields& read, std::string_view name, std::optional<failure>& problem) {
  constexpr double low = 1, high = 1e12;
  const auto plain = read.real("rope_theta", low, high, 10000);
  double theta = plain;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    json_fields rope(object_at(object, key), name, std::string(key) + ".");
    theta = rope.real("rope_theta", low, high, theta);
    for (const char* kind : {"rope_type", "type"})
      if (const auto* word = rope.find(kind); word != nullptr && *word != "default")
        rope.fail(kind, "must be \"default\": scaled positions are not known yet", errc::unavailable);
    if (rope.problem() && !problem) problem = rope.problem();
  }
  return theta;
}

result<std::optional<stored_quantisation>> quantisation_of(const json& object, std::string_view name) {
  const auto found = object.find("quantization_config");
  if (found == object.end() || found->is_null()) return std::optional<stored_quantisation>();
  if (!found->is_object())
    return {errc::invalid_argument, std::string(name) + ": quantization_config must be an object"};

  json_fields read(*found, name, "quantization_config.");
  const auto word = [&](const char* key, const char* only) {
    const auto* value = read.find(key);
    if (value == nullptr || *value != only)
      read.fail(key, "must be \"" + std::string(only) + "\", the one form known here", errc::unavailable);
  };
  word("quant_method", "compressed-tensors");
  word("format", "pack-quantized");
  const auto& groups = object_at(*found, "config_groups");
  if (!read.problem() && groups.size() != 1) read.fail("config_groups", "must hold one group", errc::unavailable);
  if (read.problem()) return *read.problem();

  stored_quantisation q;
  q.ignore = read.words("ignore");
  if (read.problem()) return *read.problem();
  const auto& group = groups.begin().value();
  json_fields weights(group.is_object() ? object_at(group, "weights") : object_at(groups, ""), name,
                      "quantization_config weights.");
  q.bits = weights.integer("num_bits", 1, 16);
  q.group_size = std::max(0, weights.integer("group_size", -1, 1 << 16, 0));
  q.symmetric = weights.boolean("symmetric", true);
  if (q.bits != 4) weights.fail("num_bits", "must be 4, the one width known here", errc::unavailable);
  if (!q.symmetric) weights.fail("symmetric", "must be true: zero points are not known yet", errc::unavailable);
  if (q.group_size % 8 != 0) weights.fail("group_size", "must be a multiple of 8");
  // "group" puts the columns of a group apart; "weight" and "static" only chose them.
  if (const auto* order = weights.find("actorder"); order && *order != "weight" && *order != "static")
    weights.fail("actorder", "must be absent, \"weight\" or \"static\": reordered columns are not known yet",
                 errc::unavailable);
  if (weights.problem()) return *weights.problem();
  return std::optional(std::move(q));
}

/// What the numbers of one configuration must be to each other.
void check_shape(const model_config& c, json_fields& read) {
  read.need(c.num_q_heads % c.num_kv_heads == 0, "num_attention_heads",
            "must divide by num_key_value_heads (" + std::to_string(c.num_kv_heads) + ")");
  read.need(c.head_dim % 8 == 0, "head_dim", "must be a multiple of 8");
  read.need(c.num_experts_per_tok <= c.num_experts, "num_experts_per_tok",
            "must be at most num_experts (" + std::to_string(c.num_experts) + ")");
  constexpr std::int32_t step = 32; // along K: what the integer kernels take at once
  for (const auto& [key, value] : {std::pair{"hidden_size", c.hidden_size},
                                   {"moe_intermediate_size", c.moe_intermediate_size},
                                   {"intermediate_size", c.intermediate_size}})
    read.need(value % step == 0, key, "must be a multiple of " + std::to_string(step));
  read.need(c.num_q_heads * c.head_dim % step == 0, "head_dim",
            "times num_attention_heads must be a multiple of " + std::to_string(step));
}

} // namespace

bool model_config::is_moe_layer(std::int32_t layer) const noexcept {
  return num_experts > 0 && (layer + 1) % decoder_sparse_step == 0 &&
         std::ranges::find(mlp_only_layers, layer) == mlp_only_layers.end();
}

std::uint64_t model_config::fingerprint() const {
  std::ostringstream text;
  text << family << ' ' << hidden_size << ' ' << num_layers << ' ' << num_q_heads << ' ' << num_kv_heads << ' '
       << head_dim << ' ' << num_experts << ' ' << num_experts_per_tok << ' ' << moe_intermediate_size << ' '
       << intermediate_size << ' ' << decoder_sparse_step << ' ' << norm_topk_prob << tie_word_embeddings
       << attention_bias << ' ' << vocab_size << ' ' << std::hexfloat << rms_norm_eps << ' ' << rope_theta;
  for (const auto layer : mlp_only_layers) text << ' ' << layer;
  return xxh3(text.str());
}

result<model_config> parse_model_config(std::string_view config_json, std::string_view generation_json,
                                        std::string_view name) {
  const auto object = parse_shallow(config_json);
  if (object.is_discarded() || !object.is_object())
    return {errc::corrupt, std::string(name) + ": is not a JSON object"};
  model_config c;
  if (object.contains("model_type") && object["model_type"].is_string()) c.family = object["model_type"];
  if (c.family != "qwen3_moe")
    return {errc::unavailable, std::string(name) + ": model_type " + shown_json(object.value("model_type", json())) +
                                   " is not supported; known: qwen3_moe"};

  constexpr std::int64_t wide = 1 << 20;
  json_fields read(object, name);
  c.hidden_size = read.integer("hidden_size", 1, wide);
  c.num_layers = read.integer("num_hidden_layers", 1, 1024);
  c.num_q_heads = read.integer("num_attention_heads", 1, 1024);
  c.num_kv_heads = read.integer("num_key_value_heads", 1, 1024, c.num_q_heads);
  c.head_dim = read.integer("head_dim", 2, 1024, c.hidden_size / c.num_q_heads);
  c.num_experts = read.integer("num_experts", 0, 4096, 0);
  c.num_experts_per_tok = read.integer("num_experts_per_tok", c.num_experts > 0 ? 1 : 0, 64, 0);
  c.moe_intermediate_size = read.integer("moe_intermediate_size", c.num_experts > 0 ? 1 : 0, wide, 0);
  c.intermediate_size = read.integer("intermediate_size", 1, wide, std::max(1, c.moe_intermediate_size));
  c.decoder_sparse_step = read.integer("decoder_sparse_step", 1, 1024, 1);
  c.mlp_only_layers = read.integers("mlp_only_layers", c.num_layers - 1);
  c.norm_topk_prob = read.boolean("norm_topk_prob", false);
  c.tie_word_embeddings = read.boolean("tie_word_embeddings", false);
  c.attention_bias = read.boolean("attention_bias", false);
  c.vocab_size = read.integer("vocab_size", 1, 1 << 24);
  c.max_position_embeddings = read.integer("max_position_embeddings", 1, 1 << 20);
  c.rms_norm_eps = float(read.real("rms_norm_eps", 1e-12, 1, 1e-6));
  if (read.find("bos_token_id") != nullptr) c.bos_token_id = read.integer("bos_token_id", 0, c.vocab_size - 1);
  c.eos_token_ids = read.integers("eos_token_id", c.vocab_size - 1);
  if (const auto* act = read.find("hidden_act"); act != nullptr && *act != "silu")
    read.fail("hidden_act", "must be \"silu\", the one activation known here", errc::unavailable);
  if (read.boolean("use_sliding_window", false))
    read.fail("use_sliding_window", "must be false: windows are not known yet", errc::unavailable);
  std::optional<failure> rope_problem;
  c.rope_theta = rope_theta_of(object, read, name, rope_problem);
  if (!read.problem()) check_shape(c, read);
  if (read.problem()) return *read.problem();
  if (rope_problem) return *rope_problem;
  QUADRANT_TRY(c.quantisation, quantisation_of(object, name));

  const auto generation = parse_shallow(generation_json);
  if (generation.is_object()) {
    const auto path = std::filesystem::path(name).replace_filename("generation_config.json").string();
    json_fields more(generation, path);
    if (auto ids = more.integers("eos_token_id", c.vocab_size - 1); !ids.empty()) c.eos_token_ids = std::move(ids);
    if (more.find("bos_token_id") != nullptr) c.bos_token_id = more.integer("bos_token_id", 0, c.vocab_size - 1);
    c.max_new_tokens = more.integer("max_new_tokens", 1, 1 << 20, c.max_new_tokens);
    if (more.problem()) return *more.problem();
  } else if (!generation.is_null()) {
    return {errc::corrupt,
            std::filesystem::path(name).replace_filename("generation_config.json").string() + ": is not a JSON object"};
  }
  return c;
}

result<model_config> read_model_config(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  const auto text = read_file(file);
  if (!text)
    return {errc::not_found, "cannot read " + file.string() + "; --model wants a Hugging Face checkpoint directory"};
  return parse_model_config(*text, read_file(directory / "generation_config.json").value_or("null"), file.string());
}

} // namespace quadrant::model
