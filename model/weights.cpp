#include "model/weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "config/hash.hpp"
#include "gpu/math.hpp"
#include "gpu/team.hpp"
#include "model/tensor_reader.hpp"

namespace quadrant::model {
namespace {

constexpr std::uint64_t rules_version = 2; ///< of the arithmetic, and of the bytes of a KV block
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
    files.forget(data);
  }
  return id;
}

/// Output rows of several matrices as the rows of one.
class joined_rows {
public:
  void add(stored_matrix matrix, std::int32_t first, std::int32_t count) {
    parts_.push_back({std::move(matrix), first, rows_, count});
    rows_ += count;
  }
  [[nodiscard]] std::int32_t rows() const noexcept { return rows_; }
  /// All int4, and in groups of one size: that size. Otherwise 0.
  [[nodiscard]] std::int32_t int4_group() const {
    for (const auto& p : parts_)
      if (!p.matrix.is_int4() || p.matrix.group() != parts_[0].matrix.group()) return 0;
    return parts_[0].matrix.group();
  }

  /// fn(matrix, first row in it, rows, rows before these) for each piece of rows [first, first + count).
  template <class Fn>
  void each(std::int32_t first, std::int32_t count, Fn fn) const {
    for (const auto& p : parts_) {
      const auto begin = std::max(first, p.at), end = std::min(first + count, p.at + p.count);
      if (begin < end) fn(p.matrix, p.first + begin - p.at, end - begin, begin - first);
    }
  }

private:
  struct part {
    stored_matrix matrix;
    std::int32_t first, at, count; ///< its rows [first, + count) are rows [at, + count) here
  };
  std::vector<part> parts_;
  std::int32_t rows_ = 0;
};

} // namespace

weight_cache::weight_cache(std::shared_ptr<const checkpoint_files> files, model_config config, gpu::numerics numerics)
    : files_(std::move(files)), config_(std::move(config)), numerics_(numerics),
      numerics_id_(content_id(*files_, config_, numerics_)) {}

std::shared_ptr<gpu::team> weight_cache::packers() {
  const std::lock_guard hold(packers_mutex_);
  if (auto known = packers_.lock()) return known;
  const auto made =
      std::make_shared<gpu::team>(gpu::team_options{.num_threads = std::max(1, int(gpu::usable_cores().size()))});
  packers_ = made;
  return made;
}

result<weight_ref> weight_cache::remember(const std::string& key,
                                          const std::function<result<weight_ref>(gpu::team&)>& make) {
  const std::lock_guard hold(mutex_);
  if (auto known = known_[key].lock()) return known;
  gpu::team::prepare_thread(); // packing rounds, too
  const auto team = packers();
  auto made = make(*team);
  if (made) known_[key] = *made;
  return made;
}

result<vector_ref> weight_cache::vector(const std::string& name, std::int32_t size) {
  QUADRANT_TRY(auto values, tensor_reader(*files_).vector(name, size));
  return vector_ref(std::make_shared<const std::vector<float>>(std::move(values)));
}

result<weight_ref> weight_cache::linear(const std::vector<rows>& parts, std::int32_t in, gpu::dtype type, bool biased) {
  std::string key(gpu::to_string(type));
  for (const auto& part : parts)
    key += ":" + part.name + "+" + std::to_string(part.first) + "+" + std::to_string(part.count);
  return remember(key, [&](gpu::team& team) -> result<weight_ref> {
    const tensor_reader reader(*files_);
    joined_rows all;
    std::vector<float> bias;
    for (const auto& part : parts) {
      QUADRANT_TRY(auto matrix, reader.matrix(part.name, part.first + part.count, in));
      all.add(std::move(matrix), part.first, part.count);
      if (const auto name = part.name + ".bias"; biased || files_->find(name).ok()) {
        QUADRANT_TRY(const auto whole, files_->find(name));
        QUADRANT_TRY(auto values, reader.vector(name, whole.shape.empty() ? 0 : whole.shape[0]));
        if (std::int64_t(values.size()) < part.first + part.count)
          return failure{errc::invalid_argument, "tensor " + name + ": too short"};
        bias.insert(bias.end(), values.begin() + part.first, values.begin() + part.first + part.count);
      }
    }
    const auto out = all.rows();
    if (!bias.empty() && std::int32_t(bias.size()) != out)
      return failure{errc::invalid_argument, "tensor " + parts[0].name + ".bias: its neighbours have none"};
    const bool grouped = type == gpu::dtype::i8 || type == gpu::dtype::i4;
    gpu::packed_weight packed;
    if (const auto group = all.int4_group(); type == gpu::dtype::i4 && group != 0)
      packed = gpu::pack_i4(
          out, in, group, 8,
          [&](std::int32_t first, std::int32_t count, std::uint8_t* q, float* scale) {
            all.each(first, count, [&](const stored_matrix& m, std::int32_t row, std::int32_t n, std::int32_t before) {
              m.read_int4(row, n, q + std::ptrdiff_t(before) * in, scale + std::ptrdiff_t(before) * (in / group));
            });
          },
          team, bias);
    else
      packed = gpu::pack(
          type, out, in, grouped ? weight_group_for(in) : 0,
          [&](std::int32_t first, std::int32_t count, float* to) {
            all.each(first, count, [&](const stored_matrix& m, std::int32_t row, std::int32_t n, std::int32_t before) {
              m.read(row, n, to + std::ptrdiff_t(before) * in);
            });
          },
          team, bias);
    all.each(0, out, [&](const stored_matrix& m, std::int32_t row, std::int32_t n, std::int32_t) {
      files_->forget(m.bytes(row, n));
    });
    return weight_ref(std::make_shared<const gpu::packed_weight>(std::move(packed)));
  });
}

result<weight_ref> weight_cache::embedding() {
  const auto type = numerics_.name == gpu::precision::f32 ? gpu::dtype::f32 : gpu::dtype::bf16;
  return remember("embedding", [&](gpu::team& team) -> result<weight_ref> {
    const auto vocab = config_.vocab_size, hidden = config_.hidden_size;
    QUADRANT_TRY(const auto matrix, tensor_reader(*files_).matrix("model.embed_tokens", vocab, hidden));
    gpu::packed_weight table;
    table.type = type;
    table.in = hidden;
    table.out = vocab;
    table.data = gpu::aligned_bytes(std::size_t(vocab) * std::size_t(hidden) * bits(type) / 8);
    team.parallel(vocab, 16, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(hidden));
      for (auto r = begin; r < end; ++r) {
        matrix.read(r, 1, row.data());
        if (type == gpu::dtype::f32)
          std::ranges::copy(row, table.data.as<float>() + r * hidden);
        else
          std::ranges::transform(row, table.data.as<std::uint16_t>() + r * hidden, gpu::to_bf16);
      }
    });
    files_->forget(matrix.bytes(0, vocab));
    return weight_ref(std::make_shared<const gpu::packed_weight>(std::move(table)));
  });
}

std::shared_ptr<const rope_tables> weight_cache::rope() {
  const std::lock_guard hold(mutex_);
  if (auto known = rope_.lock()) return known;
  gpu::team::prepare_thread();
  const auto made = std::make_shared<const rope_tables>(
      make_rope_tables(config_.rope, config_.turned_dim(), config_.max_position_embeddings));
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
    if (config_.is_latent()) {
      QUADRANT_TRY(w.latent, latent(prefix + "self_attn.", shape));
    } else {
      if (config_.norm != qk_norm::none) {
        const bool wide = config_.norm == qk_norm::width;
        QUADRANT_TRY(w.q_norm, vector(prefix + "self_attn.q_norm.weight", wide ? config_.num_q_heads * head : head));
        QUADRANT_TRY(w.k_norm, vector(prefix + "self_attn.k_norm.weight", wide ? config_.num_kv_heads * head : head));
      }
      const auto& q = shape.projected_q;
      const auto& k = shape.projected_k;
      QUADRANT_TRY(w.qkv, linear({{prefix + "self_attn.q_proj", q.first * head, q.count * head},
                                  {prefix + "self_attn.k_proj", k.first * head, k.count * head},
                                  {prefix + "self_attn.v_proj", shape.first_kv_head * head, shape.kv_heads * head}},
                                 hidden, numerics_.projection, config_.qkv_bias));
    }
    QUADRANT_TRY(w.o, linear({{prefix + "self_attn.o_proj", spec.tp_rank * shape.hidden_part, shape.hidden_part}},
                             config_.num_q_heads * config_.output_dim(), numerics_.projection, config_.o_bias));
    if (config_.is_moe_layer(layer)) {
      QUADRANT_TRY(w.gate, exact_linear(prefix + config_.names.ffn + "gate", config_.num_experts, hidden));
      if (config_.router_bias) {
        QUADRANT_TRY(w.router_bias, vector(prefix + "mlp.gate.e_score_correction_bias", config_.num_experts));
        for (const float b : *w.router_bias)
          if (!std::isfinite(b))
            return {errc::invalid_argument, "tensor " + prefix + "mlp.gate.e_score_correction_bias: must be finite"};
      }
      if (config_.shared_intermediate_size > 0) {
        const auto shared = prefix + config_.names.shared;
        QUADRANT_TRY_VOID(add_ffn(w.shared, shared + "gate_proj", shared + "up_proj", shared + "down_proj",
                                  config_.shared_intermediate_size));
      }
      if (config_.shared_gate) {
        QUADRANT_TRY(w.shared_gate, exact_linear(prefix + "mlp.shared_expert_gate", 1, hidden));
      }
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

result<weight_ref> weight_cache::turned(const std::string& name, std::int32_t first, std::int32_t in, std::int32_t out,
                                        gpu::dtype type) {
  return remember("turned:" + name + "+" + std::to_string(first), [&](gpu::team& team) -> result<weight_ref> {
    QUADRANT_TRY(const auto matrix, tensor_reader(*files_).matrix(name, first + in, out));
    std::vector<float> block(std::size_t(in) * std::size_t(out));
    matrix.read(first, in, block.data());
    return weight_ref(std::make_shared<const gpu::packed_weight>(
        gpu::pack(type, out, in, 0,
                  [&](std::int32_t begin, std::int32_t count, float* to) {
                    for (auto n = begin; n < begin + count; ++n)
                      for (std::int32_t k = 0; k < in; ++k)
                        *to++ = block[std::size_t(k) * std::size_t(out) + std::size_t(n)];
                  },
                  team, {})));
  });
}

result<latent_weights> weight_cache::latent(const std::string& at, const shard_shape& shape) {
  const auto& l = config_.latent;
  const auto hidden = config_.hidden_size, q_width = l.plain + l.turned, kv_width = l.plain + l.value;
  const auto type = numerics_.name == gpu::precision::f32 ? gpu::dtype::f32 : gpu::dtype::bf16;
  latent_weights w;
  auto q_name = at + "q_proj";
  auto q_in = hidden;
  if (l.query_rank > 0) {
    QUADRANT_TRY(w.q_a, linear({{at + "q_a_proj", 0, l.query_rank}}, hidden, numerics_.projection, config_.qkv_bias));
    QUADRANT_TRY(w.q_norm, vector(at + "q_a_layernorm.weight", l.query_rank));
    q_name = at + "q_b_proj";
    q_in = l.query_rank;
  }
  std::vector<rows> plain, turning;
  for (auto head = shape.first_q_head; head < shape.first_q_head + shape.q_heads; ++head) {
    plain.push_back({q_name, head * q_width, l.plain});
    turning.push_back({q_name, head * q_width + l.plain, l.turned});
    QUADRANT_TRY(auto key, turned(at + "kv_b_proj", head * kv_width, l.plain, l.rank, type));
    QUADRANT_TRY(auto value, linear({{at + "kv_b_proj", head * kv_width + l.plain, l.value}}, l.rank, type));
    w.key_ptr.push_back(key.get());
    w.value_ptr.push_back(value.get());
    w.key.push_back(std::move(key));
    w.value.push_back(std::move(value));
  }
  QUADRANT_TRY(w.q_plain, linear(plain, q_in, numerics_.projection));
  QUADRANT_TRY(w.q_turned, linear(turning, q_in, numerics_.projection));
  QUADRANT_TRY(w.kv_a, linear({{at + "kv_a_proj_with_mqa", 0, l.rank + l.turned}}, hidden, numerics_.projection,
                              config_.qkv_bias));
  QUADRANT_TRY(w.kv_norm, vector(at + "kv_a_layernorm.weight", l.rank));
  return w;
}

result<weight_ref> weight_cache::exact_linear(const std::string& name, std::int32_t out, std::int32_t in) {
  const auto stored = files_->find(name + ".weight");
  const bool narrow = stored.ok() && stored->type == tensor_type::bf16;
  return linear({{name, 0, out}}, in, narrow ? gpu::dtype::bf16 : gpu::dtype::f32);
}

result<void> weight_cache::add_ffn(ffn_weights& to, const std::string& gate, const std::string& up,
                                   const std::string& down, std::int32_t width, bool biased) {
  QUADRANT_TRY(auto gate_up, linear({{gate, 0, width}, {up, 0, width}}, config_.hidden_size, numerics_.expert, biased));
  QUADRANT_TRY(auto out, linear({{down, 0, config_.hidden_size}}, width, numerics_.expert, biased));
  // The grouped op works through all experts in runs of one length.
  if (!to.gate_up.empty() && (gate_up->group != to.gate_up[0]->group || out->group != to.down[0]->group))
    return {errc::invalid_argument, "tensors " + gate + ", " + up + ", " + down +
                                        ": their groups of scales are not as long as the first expert's"};
  to.gate_up_ptr.push_back(gate_up.get());
  to.down_ptr.push_back(out.get());
  to.gate_up.push_back(std::move(gate_up));
  to.down.push_back(std::move(out));
  return {};
}

result<ffn_weights> weight_cache::ffn(std::int32_t layer, std::int32_t first, std::int32_t end) {
  const auto at = "model.layers." + std::to_string(layer) + ".";
  ffn_weights out;
  if (!config_.is_moe_layer(layer)) {
    QUADRANT_TRY_VOID(add_ffn(out, at + "mlp.gate_proj", at + "mlp.up_proj", at + "mlp.down_proj",
                              config_.intermediate_size, config_.mlp_bias));
    return out;
  }
  const auto& names = config_.names;
  for (auto expert = first; expert < end; ++expert) {
    const auto prefix = at + names.ffn + "experts." + std::to_string(expert) + ".";
    QUADRANT_TRY_VOID(add_ffn(out, prefix + names.gate_proj, prefix + names.up_proj, prefix + names.down_proj,
                              config_.moe_intermediate_size));
  }
  return out;
}

} // namespace quadrant::model
