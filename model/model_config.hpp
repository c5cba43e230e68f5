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
  rope_rule rope;
  // FFN: dense, or experts and perhaps one that serves all.
  std::int32_t intermediate_size = 0; ///< of dense layers
  bool mlp_bias = false;              ///< of dense layers
  std::int32_t num_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0;
  std::vector<bool> moe_layers;              ///< by layer; empty: none
  gpu::router router;                        ///< how experts are chosen
  std::int32_t shared_intermediate_size = 0; ///< 0: no shared expert
  bool shared_gate = false;                  ///< a number a token says how much it counts
  tensor_names names;
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids; ///< of generation_config where it has any
  std::int32_t max_new_tokens = 256;       ///< of generation_config: what a request gets that names none
  std::optional<stored_quantisation> quantisation;

  [[nodiscard]] bool is_moe_layer(std::int32_t layer) const noexcept;
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
