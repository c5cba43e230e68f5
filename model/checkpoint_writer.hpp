// model/checkpoint_writer.hpp: writes the safetensors files of a checkpoint, one shard after the other, without holding it.
//
//   tensors, in order ─▶ shards ─▶ header, then each tensor's bytes as `fill` brings them ─▶ index
//
// A file appears under its name only once it is whole. An earlier run that stopped half-way goes on: shards that are there
// whole, with the same header, are kept. Files that something else has written are never written over.
// Threads one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "config/result.hpp"

namespace quadrant::model {

/// A tensor to be written.
struct planned_tensor {
  std::string name, dtype; ///< dtype as safetensors says it: BF16
  std::vector<std::int64_t> shape;
  std::size_t bytes = 0;
};

struct checkpoint_plan {
  std::filesystem::path out; ///< a directory that is there
  std::string made_by;       ///< who writes it, for what may be written over: "quadrant make-random 1"
  std::string of;            ///< of what: another one is another checkpoint
  std::size_t shard_bytes = std::size_t(1) << 30;
  std::vector<planned_tensor> tensors;
};

/// Writes the bytes of one tensor, in pieces, to `to`.
using tensor_sink = std::function<void(std::span<const std::byte>)>;
using tensor_source = std::function<result<void>(const planned_tensor& tensor, const tensor_sink& to)>;

/// Shows progress. Errors  errc::invalid_argument: `out` holds other weights; errc::unavailable: the file that cannot be
/// written, and why; what `fill` says
result<void> write_checkpoint(const checkpoint_plan& plan, const tensor_source& fill);

/// A small file, whole or not at all.
result<void> write_text_file(const std::filesystem::path& file, const std::string& text);

failure cannot_write(const std::filesystem::path& file, const std::string& why);

} // namespace quadrant::model
