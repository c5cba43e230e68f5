// actors/loadgen/trace.hpp: what a real service was asked, from a file.
//
//   Mooncake, JSON lines   {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}
//                          ms; a hash id stands for a block of 512 tokens: prompts that begin with the same ids begin
//                          with the same tokens
//   Azure LLM inference    TIMESTAMP,ContextTokens,GeneratedTokens
//                          2023-11-16 18:17:03.9799600,4808,10          (a zone behind the time is not looked at)
// The first line says which it is. Rows come out in the order of their times, the first at 0.
// Errors  errc::not_found, errc::invalid_argument: one line, FILE:LINE and what is wrong there
#pragma once
#include <cstdint>
#include <filesystem>
#include <istream>
#include <string>
#include <vector>

#include "config/result.hpp"

namespace quadrant::actors::loadgen {

inline constexpr std::int32_t trace_block_tokens = 512;

struct trace_row {
  std::int64_t at_ns = 0;
  std::int32_t input_tokens = 0, output_tokens = 0; ///< 1 or more
  std::vector<std::uint64_t> blocks;                ///< Mooncake's hash ids; none: nothing is shared
};

/// The first `limit` rows of a file.
result<std::vector<trace_row>> read_trace(const std::filesystem::path& file, std::size_t limit);
result<std::vector<trace_row>> read_trace(std::istream& in, const std::string& name, std::size_t limit);

} // namespace quadrant::actors::loadgen
