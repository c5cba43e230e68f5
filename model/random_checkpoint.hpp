// model/random_checkpoint.hpp: a checkpoint of any shape with random weights, so that a size can be measured before its
// weights exist.
//
//   OUT/config.json                        as given, without its quantization_config
//   OUT/model[-NNNNN-of-NNNNN].safetensors bf16, even in +-sqrt(3) * initializer_range; norms are 1
//   OUT/model.safetensors.index.json       where there are several
//   OUT/tokenizer.json and its kin         those beside the given config.json, or byte-level ones of that many tokens
//
// Holds    one configuration and seed give the same bytes. A shard that is whole is kept, so a run can be resumed. Weights
//          that this did not write are never written over.
// Threads  one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "config/result.hpp"

namespace quadrant::model {

struct random_checkpoint {
  std::filesystem::path like; ///< config.json, or a directory that holds one
  std::filesystem::path out;  ///< made where it is not there
  std::uint64_t seed = 0;
  std::size_t shard_bytes = std::size_t(1) << 30; ///< of weights in a file, about; whole tensors
};

/// Errors  as read_model_config for `like`; errc::invalid_argument: `out` holds other weights; errc::unavailable: the
///         file that cannot be written, and why
result<void> write_random_checkpoint(const random_checkpoint& wanted);

/// A byte-level tokenizer.json with a vocabulary of `vocab` tokens: the 256 bytes, then words of small letters, each a
/// shorter one and a letter. Control tokens: <|im_end|>, <|im_start|>, <|endoftext|>, at the ids given.
/// Errors  errc::invalid_argument: too few tokens for all bytes
struct control_ids {
  std::int32_t im_end, im_start, end_of_text;
};
result<std::string> byte_level_tokenizer(std::int32_t vocab, control_ids control);

} // namespace quadrant::model
