// model/model_config.hpp: a Hugging Face config.json and generation_config.json as plain numbers, all checked.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/result.hpp"

namespace quadrant::model {

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
  std::vector<std::int32_t> eos_token_ids;
  std::int32_t max_new_tokens = 256; ///< of generation_config: what a request gets that names none

  [[nodiscard]] bool is_moe_layer(std::int32_t layer) const noexcept;
  /// Of every number that changes the arithmetic.
  [[nodiscard]] std::uint64_t fingerprint() const;
};

/// Errors  errc::not_found: no config.json; errc::corrupt, errc::invalid_argument: file, field, value and what is allowed;
///         errc::unavailable: a model_type that is not known yet (the message says which are)
result<model_config> read_model_config(const std::filesystem::path& directory);
result<model_config> parse_model_config(std::string_view config_json, std::string_view generation_json, std::string_view name);

} // namespace quadrant::model
