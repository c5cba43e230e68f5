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

result<weight_ref> weight_cache::linear(const std::vector<rows>& parts, std::int32_t in, gpu::dtype type) {
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
      if (const auto name = part.name + ".bias"; files_->find(name).ok()) {
        auto whole = files_->find(name);
        QUADRANT_TRY(auto values, reader.vector(name, whole->shape.empty() ? 0 : whole->shape[0]));
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
    if (config_.is_moe_layer(layer)) { // it works in f32; stored in bf16 it is as exact in half the bytes
      const auto stored = files_->find(prefix + "mlp.gate.weight");
      const bool narrow = stored.ok() && stored->type == tensor_type::bf16;
      QUADRANT_TRY(w.gate, linear({{prefix + "mlp.gate", 0, config_.num_experts}}, hidden,
                                  narrow ? gpu::dtype::bf16 : gpu::dtype::f32));
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
