// model/model_config.hpp: a Hugging Face config.json and generation_config.json as plain numbers, all checked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"

namespace quadrant::model {

/// How the linears of a compressed-tensors `pack-quantized` checkpoint are stored.
struct stored_quantisation {
  std::int32_t bits = 4;
  std::int32_t group_size = 0;     ///< inputs per scale; 0: one scale per output row
  bool symmetric = true;           ///< no zero points
  std::vector<std::string> ignore; ///< linears left in floating point: a name, or "re:" and a regex
};

struct model_config {
  std::string family; ///< model_type
  std::int32_t hidden_size = 0, num_layers = 0, num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::int32_t num_experts = 0, num_experts_per_tok = 0, moe_intermediate_size = 0, intermediate_size = 0;
  std::int32_t decoder_sparse_step = 1;
  std::vector<std::int32_t> mlp_only_layers;
  bool norm_topk_prob = true, tie_word_embeddings = false, attention_bias = false;
  std::int32_t vocab_size = 0, max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 10000;
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids; ///< of generation_config where it has any
  std::int32_t max_new_tokens = 256;       ///< of generation_config: what a request gets that names none
  std::optional<stored_quantisation> quantisation;

  [[nodiscard]] bool is_moe_layer(std::int32_t layer) const noexcept;
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
