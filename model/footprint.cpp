#include "model/footprint.hpp"

#include <cmath>

#include "gpu/kv_layout.hpp"
#include "gpu/packed_weight.hpp"
#include "model/tensor_reader.hpp"
#include "model/weights.hpp"

namespace quadrant::model {
namespace {

bool has(const std::string& name, std::string_view part) { return name.find(part) != std::string::npos; }

std::int64_t elements(const tensor_shape& t) {
  std::int64_t n = 1;
  for (const auto axis : t.shape) n *= axis;
  return n;
}

/// How weight_cache packs it.
gpu::dtype packed_type(const tensor_shape& t, const gpu::numerics& n) {
  if (has(t.name, "lm_head")) return n.head;
  if (has(t.name, "self_attn.") && !has(t.name, "kv_b_proj")) return n.projection;
  if (is_ffn_matrix(t)) return n.expert;
  return n.name == gpu::precision::f32 ? gpu::dtype::f32 : gpu::dtype::bf16;
}

} // namespace

double packed_bytes(gpu::dtype type, double out, std::int32_t in) {
  const bool grouped = type == gpu::dtype::i8 || type == gpu::dtype::i4;
  const double groups = grouped ? std::ceil(double(in) / weight_group_for(in)) : 0;
  const double padded = std::ceil(out / gpu::panel) * gpu::panel;
  return padded * (in * double(bits(type)) / 8 + groups * sizeof(float));
}

bool is_ffn_matrix(const tensor_shape& t) {
  return t.shape.size() == 2 && t.name.ends_with(".weight") &&
         (has(t.name, ".mlp.") || has(t.name, ".block_sparse_moe.")) && !has(t.name, ".gate.weight") &&
         !has(t.name, "shared_expert_gate");
}

parameter_count count_parameters(const model_config& config) {
  parameter_count count;
  std::int64_t experts = 0;
  for (const auto& t : tensors_of(config)) {
    count.total += elements(t);
    if (has(t.name, ".experts.")) experts += elements(t);
  }
  const auto idle =
      config.num_experts == 0 ? 0 : experts / config.num_experts * (config.num_experts - config.num_experts_per_tok);
  count.active = count.total - idle;
  return count;
}

footprint footprint_of(const model_config& config, const gpu::numerics& numerics) {
  footprint f;
  for (const auto& t : tensors_of(config))
    f.weights += t.shape.size() == 2
                     ? packed_bytes(packed_type(t, numerics), double(t.shape[0]), std::int32_t(t.shape[1]))
                     : double(elements(t)) * sizeof(float);
  if (config.tie_word_embeddings) f.weights += packed_bytes(numerics.head, config.vocab_size, config.hidden_size);
  const auto kv = gpu::kv_layout::keys_and_values(1, config.num_layers, config.num_kv_heads, config.key_dim(),
                                                  config.value_dim(), numerics.kv);
  f.kv_per_token = double(kv.pool_bytes()) / gpu::block_tokens;
  return f;
}

std::vector<std::string> check_tensors(const checkpoint_files& files, const model_config& config, std::size_t most) {
  const tensor_reader reader(files);
  std::vector<std::string> wrong;
  for (const auto& t : tensors_of(config)) {
    if (wrong.size() == most) break;
    const auto found = files.find(t.name);
    if (found.ok() && found->shape != t.shape) {
      wrong.push_back("tensor " + t.name + ": its shape is not what config.json says");
    } else if (t.shape.size() == 2) { // in whatever form
      const auto linear = t.name.substr(0, t.name.rfind('.'));
      if (const auto matrix = reader.matrix(linear, t.shape[0], t.shape[1]); !matrix)
        wrong.push_back(matrix.error().message);
    } else if (!found) {
      wrong.push_back(found.error().message);
    }
  }
  return wrong;
}

} // namespace quadrant::model
