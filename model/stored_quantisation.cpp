#include "model/stored_quantisation.hpp"

#include <algorithm>

#include "model/json_fields.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

/// Of a field whose value is an object; an empty object where it is absent.
const json& object_at(const json& parent, const char* key) {
  static const json empty = json::object();
  const auto found = parent.find(key);
  return found != parent.end() && found->is_object() ? *found : empty;
}

} // namespace

result<std::optional<stored_quantisation>> quantisation_of(const json& object, std::string_view name) {
  const auto found = object.find("quantization_config");
  if (found == object.end() || found->is_null()) return std::optional<stored_quantisation>();
  if (!found->is_object())
    return {errc::invalid_argument, std::string(name) + ": quantization_config must be an object"};

  json_fields read(*found, name, "quantization_config.");
  const auto word = [&](const char* key, const char* only) {
    const auto* value = read.find(key);
    if (value == nullptr || *value != only)
      read.fail(key, "must be \"" + std::string(only) + "\", the one form known here", errc::unavailable);
  };
  if (const auto* method = read.find("quant_method"); method != nullptr && *method == "fp8") {
    const auto* block = read.find("weight_block_size");
    if (block == nullptr || *block != json::array({128, 128}))
      read.fail("weight_block_size", "must be [128, 128], the one size known here", errc::unavailable);
    if (read.problem()) return *read.problem();
    return std::optional<stored_quantisation>(); // the tensors say so themselves
  }
  if (const auto* method = read.find("quant_method"); method != nullptr && (*method == "gptq" || *method == "awq"))
    read.fail("quant_method", "must be \"compressed-tensors\" or \"fp8\": GPTQ and AWQ are not known yet",
              errc::unavailable);
  word("quant_method", "compressed-tensors");
  word("format", "pack-quantized");
  const auto& groups = object_at(*found, "config_groups");
  if (!read.problem() && groups.size() != 1) read.fail("config_groups", "must hold one group", errc::unavailable);
  if (read.problem()) return *read.problem();

  stored_quantisation q;
  q.ignore = read.words("ignore");
  if (read.problem()) return *read.problem();
  const auto& group = groups.begin().value();
  json_fields weights(group.is_object() ? object_at(group, "weights") : object_at(groups, ""), name,
                      "quantization_config weights.");
  q.bits = weights.integer("num_bits", 1, 16);
  q.group_size = std::max(0, weights.integer("group_size", -1, 1 << 16, 0));
  q.symmetric = weights.boolean("symmetric", true);
  if (q.bits != 4) weights.fail("num_bits", "must be 4, the one width known here", errc::unavailable);
  if (!q.symmetric) weights.fail("symmetric", "must be true: zero points are not known yet", errc::unavailable);
  if (q.group_size % 8 != 0) weights.fail("group_size", "must be a multiple of 8");
  // "group" puts the columns of a group apart; "weight" and "static" only chose them.
  if (const auto* order = weights.find("actorder"); order && *order != "weight" && *order != "static")
    weights.fail("actorder", "must be absent, \"weight\" or \"static\": reordered columns are not known yet",
                 errc::unavailable);
  if (weights.problem()) return *weights.problem();
  return std::optional(std::move(q));
}

} // namespace quadrant::model
