#include "model/weights.hpp"

#include <algorithm>
#include <cstring>

#include "config/hash.hpp"
#include "gpu/math.hpp"
#include "gpu/team.hpp"
#include "model/tensor_reader.hpp"

namespace quadrant::model {
namespace {

constexpr std::uint64_t rules_version = 2; ///< of the arithmetic, and of the bytes of a KV block
constexpr std::int32_t weight_group = 128; ///< along K (rule 6)

std::int32_t group_for(std::int32_t in) { return in % weight_group == 0 ? weight_group : in % 64 == 0 ? 64 : in; }

/// All bytes of a checkpoint, or of each tensor of a large one 64 pieces, the first and the last among them: reading
/// all of it would take minutes.
std::uint64_t content_id(const checkpoint_files& files, const model_config& config, const gpu::numerics& numerics) {
  constexpr std::size_t large = std::size_t(1) << 30, piece = 4096, pieces = 64;
  std::size_t whole = 0;
  for (const auto& name : files.names()) whole += files.find(name)->data.size();
  std::uint64_t id = xxh3(gpu::to_string(numerics.name), rules_version);
  id = xxh3(to_hex(config.fingerprint()), id);
  for (const auto& name : files.names()) {
    const auto tensor = files.find(name);
    const auto data = tensor->data;
    id = xxh3(name, id);
    if (whole <= large || data.size() <= piece * pieces) {
      id = xxh3(data, id);
      continue;
    }
    for (std::size_t i = 0; i < pieces; ++i)
      id = xxh3(data.subspan((data.size() - piece) / (pieces - 1) * i, piece), id);
    id = xxh3(data.last(piece), id);
  }
  return id;
}

} // namespace

weight_cache::weight_cache(std::shared_ptr<const checkpoint_files> files, model_config config, gpu::numerics numerics)
    : files_(std::move(files)), config_(std::move(config)), numerics_(numerics),
      numerics_id_(content_id(*files_, config_, numerics_)) {}

result<weight_ref> weight_cache::remember(const std::string& key, const std::function<result<weight_ref>()>& make) {
  const std::lock_guard hold(mutex_);
  if (auto known = known_[key].lock()) return known;
  gpu::team::prepare_thread(); // packing rounds, too
  auto made = make();
  if (made) known_[key] = *made;
  return made;
}

result<vector_ref> weight_cache::vector(const std::string& name, std::int32_t size) {
  QUADRANT_TRY(auto values, tensor_reader(*files_).vector(name, size));
  return vector_ref(std::make_shared<const std::vector<float>>(std::move(values)));
}

result<weight_ref> weight_cache::linear(const std::vector<rows>& parts, std::int32_t in, gpu::dtype type) {
  std::string key(gpu::to_string(type));
  for (const auto& part : parts)
    key += ":" + part.name + "+" + std::to_string(part.first) + "+" + std::to_string(part.count);
  return remember(key, [&]() -> result<weight_ref> {
    const tensor_reader reader(*files_);
    std::int32_t out = 0;
    for (const auto& part : parts) out += part.count;
    const auto finished = [](gpu::packed_weight w) {
      return weight_ref(std::make_shared<const gpu::packed_weight>(std::move(w)));
    };

    if (type == gpu::dtype::i4 && std::ranges::all_of(parts, [&](const rows& p) { return reader.is_int4(p.name); })) {
      int4_rows stored;
      for (const auto& part : parts)
        QUADRANT_TRY_VOID(reader.append_int4(part.name, part.first, part.count, in, stored));
      return finished(gpu::pack_i4(stored.q, stored.scale, 8, out, in, stored.group));
    }
    std::vector<float> w, bias;
    for (const auto& part : parts) {
      QUADRANT_TRY_VOID(reader.append_rows(part.name, part.first, part.count, in, w));
      if (const auto name = part.name + ".bias"; files_->find(name).ok()) {
        auto whole = files_->find(name);
        QUADRANT_TRY(auto values, reader.vector(name, whole->shape.empty() ? 0 : whole->shape[0]));
        if (std::int64_t(values.size()) < part.first + part.count)
          return failure{errc::invalid_argument, "tensor " + name + ": too short"};
        bias.insert(bias.end(), values.begin() + part.first, values.begin() + part.first + part.count);
      }
    }
    if (!bias.empty() && std::int32_t(bias.size()) != out)
      return failure{errc::invalid_argument, "tensor " + parts[0].name + ".bias: its neighbours have none"};
    const bool grouped = type == gpu::dtype::i8 || type == gpu::dtype::i4;
    return finished(gpu::pack(type, w, out, in, grouped ? group_for(in) : 0, bias));
  });
}

result<weight_ref> weight_cache::embedding() {
  const auto type = numerics_.name == gpu::precision::f32 ? gpu::dtype::f32 : gpu::dtype::bf16;
  return remember("embedding", [&]() -> result<weight_ref> {
    std::vector<float> w;
    QUADRANT_TRY_VOID(
        tensor_reader(*files_).append_rows("model.embed_tokens", 0, config_.vocab_size, config_.hidden_size, w));
    gpu::packed_weight table;
    table.type = type;
    table.in = config_.hidden_size;
    table.out = config_.vocab_size;
    table.data = gpu::aligned_bytes(w.size() * bits(type) / 8);
    if (type == gpu::dtype::f32)
      std::memcpy(table.data.data(), w.data(), w.size() * sizeof(float));
    else
      std::ranges::transform(w, table.data.as<std::uint16_t>(), gpu::to_bf16);
    return weight_ref(std::make_shared<const gpu::packed_weight>(std::move(table)));
  });
}

std::shared_ptr<const rope_tables> weight_cache::rope() {
  const std::lock_guard hold(mutex_);
  if (auto known = rope_.lock()) return known;
  gpu::team::prepare_thread();
  const auto made = std::make_shared<rope_tables>();
  const auto half = config_.head_dim / 2, positions = config_.max_position_embeddings;
  const double log_theta = gpu::log_f64(config_.rope_theta);
  made->cos.resize(std::size_t(positions) * half);
  made->sin.resize(std::size_t(positions) * half);
  for (std::int32_t i = 0; i < half; ++i) {
    const double frequency = gpu::exp_f64(-log_theta * double(i) / double(half));
    for (std::int32_t p = 0; p < positions; ++p) {
      made->cos[std::size_t(p) * half + i] = float(gpu::cos_f64(double(p) * frequency));
      made->sin[std::size_t(p) * half + i] = float(gpu::sin_f64(double(p) * frequency));
    }
  }
  rope_ = made;
  return made;
}

result<attention_weights> weight_cache::attention(const shard_spec& spec) {
  QUADRANT_TRY(const auto shape, shape_of(config_, spec));
  const auto hidden = config_.hidden_size, head = config_.head_dim;
  attention_weights out;
  for (auto layer = spec.first_layer; layer < spec.end_layer; ++layer) {
    const auto prefix = "model.layers." + std::to_string(layer) + ".";
    layer_weights w;
    QUADRANT_TRY(w.input_norm, vector(prefix + "input_layernorm.weight", hidden));
    QUADRANT_TRY(w.post_norm, vector(prefix + "post_attention_layernorm.weight", hidden));
    QUADRANT_TRY(w.q_norm, vector(prefix + "self_attn.q_norm.weight", head));
    QUADRANT_TRY(w.k_norm, vector(prefix + "self_attn.k_norm.weight", head));
    QUADRANT_TRY(w.qkv, linear({{prefix + "self_attn.q_proj", shape.first_q_head * head, shape.q_heads * head},
                                {prefix + "self_attn.k_proj", shape.first_kv_head * head, shape.kv_heads * head},
                                {prefix + "self_attn.v_proj", shape.first_kv_head * head, shape.kv_heads * head}},
                               hidden, numerics_.projection));
    QUADRANT_TRY(w.o, linear({{prefix + "self_attn.o_proj", spec.tp_rank * shape.hidden_part, shape.hidden_part}},
                             config_.num_q_heads * head, numerics_.projection));
    if (config_.is_moe_layer(layer)) {
      QUADRANT_TRY(w.gate, linear({{prefix + "mlp.gate", 0, config_.num_experts}}, hidden, gpu::dtype::f32));
    }
    out.layers.push_back(std::move(w));
  }
  if (shape.embeds) {
    QUADRANT_TRY(out.embedding, embedding());
  }
  if (shape.samples) {
    const auto* head_name = config_.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
    QUADRANT_TRY(out.final_norm, vector("model.norm.weight", hidden));
    QUADRANT_TRY(out.head,
                 linear({{head_name, spec.tp_rank * shape.vocab_part, shape.vocab_part}}, hidden, numerics_.head));
  }
  return out;
}

result<ffn_weights> weight_cache::ffn(std::int32_t layer, std::int32_t first, std::int32_t end) {
  const bool moe = config_.is_moe_layer(layer);
  const auto width = moe ? config_.moe_intermediate_size : config_.intermediate_size;
  ffn_weights out;
  for (auto expert = first; expert < end; ++expert) {
    auto prefix = "model.layers." + std::to_string(layer) + ".mlp.";
    if (moe) prefix += "experts." + std::to_string(expert) + ".";
    QUADRANT_TRY(auto gate_up, linear({{prefix + "gate_proj", 0, width}, {prefix + "up_proj", 0, width}},
                                      config_.hidden_size, numerics_.expert));
    QUADRANT_TRY(auto down, linear({{prefix + "down_proj", 0, config_.hidden_size}}, width, numerics_.expert));
    // The grouped op works through all experts in runs of one length.
    if (!out.gate_up.empty() && (gate_up->group != out.gate_up[0]->group || down->group != out.down[0]->group))
      return {errc::invalid_argument,
              "tensor " + prefix + "*: its groups of scales are not as long as expert " + std::to_string(first) + "'s"};
    out.gate_up_ptr.push_back(gate_up.get());
    out.down_ptr.push_back(down.get());
    out.gate_up.push_back(std::move(gate_up));
    out.down.push_back(std::move(down));
  }
  return out;
}

} // namespace quadrant::model
