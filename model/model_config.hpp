// model/model_config.hpp: a Hugging Face config.json and generation_config.json as plain numbers, all checked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "gpu/ops.hpp"
#include "model/rope.hpp"
#include "model/stored_quantisation.hpp"

namespace quadrant::model {

/// What q and k are normalised over before RoPE.
enum class qk_norm : std::uint8_t { none, head, width };

/// Multi-head latent attention: keys and values of all heads are projections of one latent, and only that is kept. All
/// zero: grouped queries.
struct latent_attention {
  std::int32_t query_rank = 0;        ///< of the query's own low rank; 0: none
  std::int32_t rank = 0;              ///< of the latent
  std::int32_t plain = 0, turned = 0; ///< of a head's query and key: what does not turn, what does
  std::int32_t value = 0;             ///< of a head's value
  bool pairs = true;                  ///< dimensions 2i and 2i+1 turn together, not i and i + turned/2
};

/// How a family names what others name otherwise, within a layer.
struct tensor_names {
  std::string ffn = "mlp.", gate_proj = "gate_proj", up_proj = "up_proj", down_proj = "down_proj"; ///< of experts
  std::string shared = "mlp.shared_expert.";
};

/// All that distinguishes one model from another. A family's file fills it from config.json.
struct model_config {
  std::string family; ///< model_type
  std::int32_t hidden_size = 0, num_layers = 0, vocab_size = 0, max_position_embeddings = 0;
  bool tie_word_embeddings = false;
  float rms_norm_eps = 1e-6f;
  // Attention: grouped queries.
  std::int32_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  bool qkv_bias = false, o_bias = false;
  qk_norm norm = qk_norm::none;
  float clip_qkv = 0; ///< 0: not clipped
  latent_attention latent;
  rope_rule rope;
  // FFN: dense, or experts and perhaps one that serves all.
  std::int32_t intermediate_size = 0; ///< of dense layers
  bool mlp_bias = false;              ///< of dense layers
  std::int32_t num_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0;
  std::vector<bool> moe_layers;              ///< by layer; empty: none
  gpu::router router;                        ///< how experts are chosen
  bool router_bias = false;                  ///< chooses, does not weigh
  std::int32_t shared_intermediate_size = 0; ///< 0: no shared expert
  bool shared_gate = false;                  ///< a number a token says how much it counts
  tensor_names names;
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids; ///< of generation_config where it has any
  std::int32_t max_new_tokens = 256;       ///< of generation_config: what a request gets that names none
  std::optional<stored_quantisation> quantisation;

  [[nodiscard]] bool is_moe_layer(std::int32_t layer) const noexcept;
  [[nodiscard]] bool is_latent() const noexcept { return latent.rank > 0; }
  // Widths of a head: of what is kept as its key and value, of what it gives to the output projection, of what turns.
  [[nodiscard]] std::int32_t key_dim() const noexcept { return is_latent() ? latent.rank + latent.turned : head_dim; }
  [[nodiscard]] std::int32_t value_dim() const noexcept { return is_latent() ? latent.rank : head_dim; }
  [[nodiscard]] std::int32_t output_dim() const noexcept { return is_latent() ? latent.value : head_dim; }
  [[nodiscard]] std::int32_t turned_dim() const noexcept { return is_latent() ? latent.turned : head_dim; }
  /// The widest FFN.
  [[nodiscard]] std::int32_t widest_ffn() const noexcept;
  /// Of every number that changes the arithmetic.
  [[nodiscard]] std::uint64_t fingerprint() const;
};

/// Errors  errc::not_found: no config.json; errc::corrupt, errc::invalid_argument: file, field, value and what is
/// allowed;
///         errc::unavailable: a model_type, or a feature of one, that is not known yet (the message says what is)
result<model_config> read_model_config(const std::filesystem::path& directory);
/// `name` is the path of config.json, for messages; `generation_json` may be "null".
result<model_config> parse_model_config(std::string_view config_json, std::string_view generation_json,
                                        std::string_view name);

} // namespace quadrant::model
