#include "model/quantise.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/file.hpp"
#include "gpu/math.hpp"
#include "gpu/team.hpp"
#include "model/checkpoint_writer.hpp"
#include "model/family.hpp"
#include "model/footprint.hpp"
#include "model/json_fields.hpp"
#include "model/tensor_reader.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::array<float, 9> clips{1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f, 0.7f, 0.65f, 0.6f};

/// To the nearest, for |x| below 2^22: what a vectoriser understands.
float rounded(float x) { return (x + 12582912.0f) - 12582912.0f; }

float error_of(std::span<const float> w, float scale) {
  const float inverse = 1.0f / scale;
  float sum = 0;
  for (const float x : w) {
    const float off = x - scale * std::clamp(rounded(x * inverse), -8.0f, 7.0f);
    sum += off * off;
  }
  return sum;
}

struct errors {
  double squared = 0, unclipped = 0, weights = 0;
  bool finite = true;
};

/// One group: its scale as bf16, its nibbles.
std::uint16_t quantise_group(std::span<const float> w, std::uint8_t* q, errors& e) {
  float amax = 0, rest = 0; // rest: 0, or NaN for ever
  for (const float x : w) amax = std::max(amax, std::fabs(x)), rest += x - x;
  if (!(rest == 0)) e.finite = false;
  auto scale_of = [&](float clip) { return gpu::from_bf16(gpu::to_bf16(clip * amax / 7)); };
  if (!(scale_of(1) > 0) || !e.finite) { // all zero, or next to it
    std::fill_n(q, w.size(), std::uint8_t{8});
    return 0;
  }
  float scale = scale_of(1), least = error_of(w, scale);
  e.unclipped += double(least);
  for (const float clip : std::span(clips).subspan(1)) {
    const float s = scale_of(clip);
    if (!(s > 0)) break;
    if (const float sum = error_of(w, s); sum < least) scale = s, least = sum;
  }
  e.squared += double(least);
  const float inverse = 1.0f / scale;
  for (std::size_t i = 0; i < w.size(); ++i) {
    e.weights += double(w[i]) * double(w[i]);
    q[i] = std::uint8_t(int(std::clamp(rounded(w[i] * inverse), -8.0f, 7.0f)) + 8);
  }
  return gpu::to_bf16(scale);
}

/// A matrix in the three tensors of `pack-quantized`.
struct packed_matrix {
  std::vector<std::uint32_t> words; ///< [out, in / 8]
  std::vector<std::uint16_t> scale; ///< [out, in / group], bf16
  std::int64_t shape[2];
};
packed_matrix pack(const stored_matrix& from, std::int64_t out, std::int64_t in, std::int32_t group, gpu::team& team,
                   errors& all) {
  packed_matrix to{.words = std::vector<std::uint32_t>(std::size_t(out * in / 8)),
                   .scale = std::vector<std::uint16_t>(std::size_t(out * in / group)),
                   .shape = {out, in}};
  std::vector<errors> of_row(static_cast<std::size_t>(out));
  team.parallel(out, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(in));
    std::vector<std::uint8_t> q(static_cast<std::size_t>(in));
    for (auto r = begin; r < end; ++r) {
      from.read(r, 1, row.data());
      for (std::int64_t g = 0; g < in / group; ++g)
        to.scale[std::size_t(r * (in / group) + g)] =
            quantise_group(std::span(row).subspan(std::size_t(g * group), std::size_t(group)), q.data() + g * group,
                           of_row[std::size_t(r)]);
      for (std::int64_t i = 0; i < in; ++i)
        to.words[std::size_t(r * (in / 8) + i / 8)] |= std::uint32_t(q[std::size_t(i)]) << (4 * (i % 8));
    }
  });
  for (const auto& e : of_row) {
    all.squared += e.squared, all.unclipped += e.unclipped, all.weights += e.weights;
    all.finite = all.finite && e.finite;
  }
  return to;
}

const char* word_of(tensor_type t) {
  switch (t) {
  case tensor_type::f32: return "F32";
  case tensor_type::f16: return "F16";
  default: return "BF16";
  }
}

std::int32_t layer_of(const std::string& name) { return std::atoi(name.c_str() + std::string("model.layers.").size()); }

/// Writes one checkpoint.
class quantiser {
public:
  quantiser(const quantise_order& order, const checkpoint_files& files, const model_config& config)
      : order_(order), files_(files), config_(config) {}

  result<void> run() {
    QUADRANT_TRY_VOID(choose());
    QUADRANT_TRY_VOID(
        write_checkpoint(plan_, [&](const planned_tensor& t, const tensor_sink& to) { return fill(t, to); }));
    tell_layer();
    return {};
  }
  [[nodiscard]] json quantization_config() const {
    return {{"quant_method", "compressed-tensors"},
            {"format", "pack-quantized"},
            {"ignore", ignored_},
            {"config_groups",
             {{"group_0",
               {{"targets", {"Linear"}},
                {"weights",
                 {{"num_bits", 4},
                  {"type", "int"},
                  {"symmetric", true},
                  {"strategy", "group"},
                  {"group_size", group_}}}}}}}};
  }

private:
  /// What becomes of each tensor.
  result<void> choose() {
    std::vector<tensor_shape> tensors = tensors_of(config_);
    for (const auto& t : tensors)
      if (is_ffn_matrix(t)) {
        if (t.shape[1] % 64 != 0) continue;
        if (t.shape[1] % 128 != 0) group_ = 64;
        if (files_.find(t.name + "_packed").ok())
          return {errc::invalid_argument, order_.from.string() + " is quantised already (" + t.name + "_packed)"};
      }
    plan_ = {.out = order_.to,
             .made_by = "quadrant quantize 1",
             .of = order_.from.string(),
             .shard_bytes = order_.shard_bytes,
             .tensors = {}};
    bool any = false;
    for (const auto& t : tensors) {
      const auto linear = t.name.substr(0, t.name.rfind('.'));
      if (is_ffn_matrix(t) && t.shape[1] % group_ == 0) {
        const auto out = t.shape[0], in = t.shape[1];
        any = true;
        plan_.tensors.push_back({t.name + "_packed", "I32", {out, in / 8}, std::size_t(out * in / 2)});
        plan_.tensors.push_back({t.name + "_scale", "BF16", {out, in / group_}, std::size_t(out * in / group_ * 2)});
        plan_.tensors.push_back({t.name + "_shape", "I64", {2}, 16});
        continue;
      }
      if (t.shape.size() == 2 && linear != "model.embed_tokens") ignored_.push_back(linear);
      QUADRANT_TRY(const auto stored, files_.find(t.name));
      if (stored.shape != t.shape)
        return {errc::invalid_argument, "tensor " + t.name + ": its shape is not what config.json says"};
      const auto type = std::string(word_of(stored.type));
      std::size_t bytes = type == "F32" ? 4 : 2;
      for (const auto axis : t.shape) bytes *= std::size_t(axis);
      plan_.tensors.push_back({t.name, type, t.shape, bytes});
    }
    if (!any)
      return {errc::invalid_argument, order_.from.string() + " has no FFN matrix that divides into groups of 64"};
    return {};
  }

  result<void> fill(const planned_tensor& t, const tensor_sink& to) {
    if (t.name.ends_with("_packed")) {
      if (t.name.starts_with("model.layers.") && layer_of(t.name) != error_.layer) tell_layer();
      const auto linear = t.name.substr(0, t.name.rfind('.'));
      const auto out = t.shape[0], in = t.shape[1] * 8;
      QUADRANT_TRY(const auto matrix, tensor_reader(files_).matrix(linear, out, in));
      matrix_ = pack(matrix, out, in, group_, team_, sums_);
      if (!sums_.finite) return {errc::invalid_argument, "tensor " + linear + ": holds a NaN or Inf"};
      files_.forget(matrix.bytes(0, out));
      error_.layer = layer_of(t.name);
      error_.weights += out * in;
      to(std::as_bytes(std::span(matrix_.words)));
    } else if (t.name.ends_with("_scale")) {
      to(std::as_bytes(std::span(matrix_.scale)));
    } else if (t.name.ends_with("_shape")) {
      to(std::as_bytes(std::span(matrix_.shape)));
    } else {
      return copy(t, to);
    }
    return {};
  }

  result<void> copy(const planned_tensor& t, const tensor_sink& to) {
    QUADRANT_TRY(const auto stored, files_.find(t.name));
    if (stored.data.size() == t.bytes) {
      to(stored.data);
      files_.forget(stored.data);
      return {};
    }
    QUADRANT_TRY(const auto matrix,
                 tensor_reader(files_).matrix(t.name.substr(0, t.name.rfind('.')), t.shape[0], t.shape[1]));
    std::vector<float> row(static_cast<std::size_t>(t.shape[1]));
    std::vector<std::uint16_t> narrow(row.size());
    for (std::int64_t r = 0; r < t.shape[0]; ++r) {
      matrix.read(r, 1, row.data());
      std::ranges::transform(row, narrow.begin(), gpu::to_bf16);
      to(std::as_bytes(std::span(narrow)));
    }
    return {};
  }

  void tell_layer() {
    if (error_.weights == 0) return;
    error_.relative = std::sqrt(sums_.squared / sums_.weights);
    error_.unclipped = std::sqrt(sums_.unclipped / sums_.weights);
    if (order_.done) order_.done(error_);
    error_ = {};
    sums_ = {};
  }

  const quantise_order& order_;
  const checkpoint_files& files_;
  const model_config& config_;
  checkpoint_plan plan_;
  std::vector<std::string> ignored_;
  std::int32_t group_ = 128;
  gpu::team team_{{.num_threads = std::max(1, int(gpu::usable_cores().size()))}};
  packed_matrix matrix_{}; ///< whose tensors are being written
  layer_error error_;
  errors sums_;
};

} // namespace

result<void> quantise_checkpoint(const quantise_order& order) {
  QUADRANT_TRY(const auto config, read_model_config(order.from));
  QUADRANT_TRY(const auto files, checkpoint_files::open(order.from));
  std::error_code error;
  fs::create_directories(order.to, error);
  if (error) return cannot_write(order.to, error.message());
  if (fs::equivalent(order.from, order.to, error))
    return {errc::invalid_argument, order.to.string() + " is where the checkpoint lies; name another directory"};
  quantiser q(order, files, config);
  QUADRANT_TRY_VOID(q.run());
  for (const auto* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"})
    if (fs::exists(order.from / name, error) &&
        !fs::copy_file(order.from / name, order.to / name, fs::copy_options::overwrite_existing, error))
      return cannot_write(order.to / name, error.message());
  auto text = parse_shallow(read_file(order.from / "config.json").value_or("{}"));
  text["quantization_config"] = q.quantization_config();
  return write_text_file(order.to / "config.json", text.dump(1)); // last: with it the directory is a checkpoint
}

} // namespace quadrant::model
