// model/text/tokenizer_stages.hpp: what a tokenizer.json says is done with text before and after BPE.
// Errors  errc::corrupt, errc::unavailable: the file, what is wrong, what is known here
// Threads any
#pragma once
#include <cstdint>
#include <vector>

#include "config/result.hpp"
#include "model/text/decoding.hpp"
#include "model/text/file_part.hpp"
#include "model/text/normaliser.hpp"
#include "model/text/pretokenizer.hpp"

namespace quadrant::model {

result<normaliser> read_normaliser(const file_part& part);

struct cutting {
  pretokenizer cutter;
  bool byte_level = false; ///< pieces are bytes, which the vocabulary writes in the byte alphabet; else characters
};
result<cutting> read_pretokenizer(const file_part& part);

result<decoding> read_decoder(const file_part& part, bool byte_level);

struct prompt_frame {
  std::vector<std::int32_t> prefix, suffix;
};
result<prompt_frame> read_post_processor(const file_part& part);

} // namespace quadrant::model
