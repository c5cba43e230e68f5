#include "model/model_config.hpp"

#include <algorithm>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "config/file.hpp"
#include "config/hash.hpp"
#include "model/families/families.hpp"
#include "model/json_fields.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

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
                                   {"intermediate_size", c.intermediate_size},
                                   {"shared_expert_intermediate_size", c.shared_intermediate_size}})
    read.need(value % step == 0, key, "must be a multiple of " + std::to_string(step));
  read.need(c.num_q_heads * c.output_dim() % step == 0, c.is_latent() ? "v_head_dim" : "head_dim",
            "times num_attention_heads must be a multiple of " + std::to_string(step));
}

} // namespace

bool model_config::is_moe_layer(std::int32_t layer) const noexcept {
  return std::size_t(layer) < moe_layers.size() && moe_layers[std::size_t(layer)];
}

std::int32_t model_config::widest_ffn() const noexcept {
  return std::max({moe_intermediate_size, intermediate_size, shared_intermediate_size});
}

std::uint64_t model_config::fingerprint() const {
  std::ostringstream text;
  text << std::hexfloat;
  const auto add = [&](const auto&... values) { ((text << values << ' '), ...); };
  add(family, hidden_size, num_layers, vocab_size, tie_word_embeddings, rms_norm_eps);
  add(num_q_heads, num_kv_heads, head_dim, qkv_bias, o_bias, int(norm), clip_qkv);
  add(int(rope.how), rope.theta, rope.factor, rope.low_turns, rope.high_turns, rope.beta_fast, rope.beta_slow,
      rope.context, rope.gain, rope.score_gain);
  add(intermediate_size, mlp_bias, num_experts, num_experts_per_tok, moe_intermediate_size);
  add(router.sigmoid, router.renormalise, router.group_by_two, router.groups, router.kept_groups, router.epsilon,
      router.scale, shared_intermediate_size, shared_gate);
  add(latent.query_rank, latent.rank, latent.plain, latent.turned, latent.value, latent.pairs, router_bias);
  for (const bool moe : moe_layers) add(moe);
  return xxh3(text.str());
}

result<model_config> parse_model_config(std::string_view config_json, std::string_view generation_json,
                                        std::string_view name) {
  const auto object = parse_shallow(config_json);
  if (object.is_discarded() || !object.is_object())
    return {errc::corrupt, std::string(name) + ": is not a JSON object"};
  model_config c;
  if (object.contains("model_type") && object["model_type"].is_string()) c.family = object["model_type"];
  const auto known = families::all();
  const auto family = std::ranges::find(known, c.family, [](const auto& f) { return std::string_view(f.model_type); });
  if (family == known.end()) {
    std::string names;
    for (const auto& f : known) names += (names.empty() ? "" : ", ") + std::string(f.model_type);
    return {errc::unavailable, std::string(name) + ": model_type " + shown_json(object.value("model_type", json())) +
                                   " is not supported; known: " + names};
  }

  json_fields read(object, name);
  c.hidden_size = read.integer("hidden_size", 1, 1 << 20);
  c.num_layers = read.integer("num_hidden_layers", 1, 1024);
  c.num_q_heads = read.integer("num_attention_heads", 1, 1024);
  c.vocab_size = read.integer("vocab_size", 1, 1 << 24);
  c.max_position_embeddings = read.integer("max_position_embeddings", 1, 1 << 20);
  c.tie_word_embeddings = read.boolean("tie_word_embeddings", false);
  if (read.find("bos_token_id") != nullptr) c.bos_token_id = read.integer("bos_token_id", 0, c.vocab_size - 1);
  c.eos_token_ids = read.integers("eos_token_id", c.vocab_size - 1);
  if (const auto* act = read.find("hidden_act"); act != nullptr && *act != "silu")
    read.fail("hidden_act", "must be \"silu\", the one activation known here", errc::unavailable);
  family->read(read, c);
  c.intermediate_size = read.integer("intermediate_size", 1, 1 << 20, std::max(1, c.moe_intermediate_size));
  if (!read.problem()) check_shape(c, read);
  if (read.problem()) return *read.problem();
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
