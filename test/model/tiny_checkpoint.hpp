// test/model/tiny_checkpoint.hpp: a random Qwen3-MoE of a few thousand weights, with one dense layer between two of
// experts.
#pragma once
#include <bit>
#include <cmath>

#include "model/weights.hpp"
#include "test/model/support.hpp"

namespace quadrant::test {

class tiny_checkpoint {
public:
  explicit tiny_checkpoint(std::uint64_t seed) : seed_(seed) {
    matrix("model.embed_tokens", vocab, hidden, 2);
    for (int layer = 0; layer < num_layers; ++layer) {
      const auto at = "model.layers." + std::to_string(layer) + ".";
      norm(at + "input_layernorm", hidden), norm(at + "post_attention_layernorm", hidden);
      norm(at + "self_attn.q_norm", head_dim), norm(at + "self_attn.k_norm", head_dim);
      matrix(at + "self_attn.q_proj", q_heads * head_dim, hidden, 1);
      matrix(at + "self_attn.k_proj", kv_heads * head_dim, hidden, 1);
      matrix(at + "self_attn.v_proj", kv_heads * head_dim, hidden, 1);
      matrix(at + "self_attn.o_proj", hidden, q_heads * head_dim, 1);
      if (layer == dense_layer) {
        ffn(at + "mlp.", dense_width);
        continue;
      }
      matrix(at + "mlp.gate", experts, hidden, 1.5f);
      for (int e = 0; e < experts; ++e) ffn(at + "mlp.experts." + std::to_string(e) + ".", width);
    }
    norm("model.norm", hidden);
    write_file(folder_.path() / "model.safetensors", tensors_.bytes());
    const nlohmann::json config = {{"model_type", "qwen3_moe"},
                                   {"hidden_size", hidden},
                                   {"num_hidden_layers", num_layers},
                                   {"num_attention_heads", q_heads},
                                   {"num_key_value_heads", kv_heads},
                                   {"head_dim", head_dim},
                                   {"num_experts", experts},
                                   {"num_experts_per_tok", 2},
                                   {"moe_intermediate_size", width},
                                   {"intermediate_size", dense_width},
                                   {"mlp_only_layers", {dense_layer}},
                                   {"norm_topk_prob", true},
                                   {"vocab_size", vocab},
                                   {"tie_word_embeddings", true},
                                   {"max_position_embeddings", 1024}};
    write_file(folder_.path() / "config.json", config.dump());
  }

  static constexpr int hidden = 64, num_layers = 3, dense_layer = 1, q_heads = 4, kv_heads = 2, head_dim = 32,
                       experts = 4, width = 64, dense_width = 256, vocab = 128;

  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }
  [[nodiscard]] model::checkpoint_files files() const {
    auto files = model::checkpoint_files::open(folder_.path());
    REQUIRE_MESSAGE(files.ok(), files.error().message);
    return std::move(*files);
  }
  [[nodiscard]] std::shared_ptr<model::weight_cache> load(gpu::precision p) const {
    auto config = model::read_model_config(folder_.path());
    REQUIRE_MESSAGE(config.ok(), config.error().message);
    return std::make_shared<model::weight_cache>(std::make_shared<model::checkpoint_files>(files()), std::move(*config),
                                                 gpu::numerics_of(p));
  }

private:
  /// Even in (-1, 1): the sum of many is normal enough.
  float draw() { return float(std::int64_t(split_mix(seed_ += 0x9E3779B97F4A7C15ull)) >> 40) * 0x1p-23f; }
  static std::uint64_t split_mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }

  void matrix(const std::string& name, int out, int in, float gain) {
    std::vector<std::uint16_t> w; // bf16
    const float size = gain * 1.7f / std::sqrt(float(in));
    for (int i = 0; i < out * in; ++i) w.push_back(std::uint16_t(std::bit_cast<std::uint32_t>(draw() * size) >> 16));
    tensors_.add(name + ".weight", "BF16", {out, in}, w);
  }
  void norm(const std::string& name, int size) {
    std::vector<float> w;
    for (int i = 0; i < size; ++i) w.push_back(1 + 0.2f * draw());
    tensors_.add(name + ".weight", "F32", {size}, w);
  }
  void ffn(const std::string& prefix, int wide) {
    matrix(prefix + "gate_proj", wide, hidden, 1.5f);
    matrix(prefix + "up_proj", wide, hidden, 1.5f);
    matrix(prefix + "down_proj", hidden, wide, 1);
  }

  temporary_folder folder_;
  safetensors_writer tensors_;
  std::uint64_t seed_;
};

} // namespace quadrant::test
