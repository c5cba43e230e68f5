// config/topology.hpp: which workers there are, how wide each quadrant is, and in which process each of them lives.
//
// A topology is a TOML file; config/profiles/ holds the usual ones. Every setting has a default, a unit and a range:
// `topology_settings()` is their list, and what the file reader, the error messages and the documentation all use.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"

namespace quadrant {

/// One process and the workers it runs. Names of workers: prefill.<pp_rank>.<tp_rank>, decode.<tp_rank>,
/// experts.prefill.<ep_rank>, experts.decode.<ep_rank>.
struct process_spec {
  std::string name;
  std::vector<std::string> runs;
};

struct topology {
  std::string precision = "w4a8";

  std::int64_t prefill_pp = 1;
  std::int64_t prefill_tp = 1;
  std::int64_t prefill_threads = 0;
  std::int64_t prefill_micro_batches = 2;
  std::int64_t prefill_micro_batch_tokens = 256;
  std::int64_t prefill_chunk_tokens = 256;
  std::int64_t prefill_kv_blocks = 512;
  std::int64_t prefill_prefix_cache = 1;

  std::int64_t decode_tp = 1;
  std::int64_t decode_kv_split = 1;
  std::int64_t decode_threads = 0;
  std::int64_t decode_micro_batches = 1;
  std::int64_t decode_launch_ahead = 2;
  std::int64_t decode_max_sequences = 64;
  std::int64_t decode_kv_blocks = 2048;
  std::int64_t decode_prefix_cache = 1;

  std::int64_t experts_prefill_ep = 0;
  std::int64_t experts_decode_ep = 0;
  std::int64_t experts_threads = 0;

  std::int64_t pin_threads = 0;
  std::int64_t shared_memory = 1;
  std::int64_t rdma = 1;
  std::int64_t max_queued_requests = 1024;

  std::vector<process_spec> processes; ///< empty: everything in one process

  /// Every worker of this topology by name, in a fixed order.
  [[nodiscard]] std::vector<std::string> worker_names() const;
};

/// How one number of a topology is named, measured and bounded.
struct setting {
  std::string_view section, key, unit;
  std::int64_t low, high;
  std::int64_t topology::*member;
  std::string_view meaning;
};
std::span<const setting> topology_settings();

/// Errors  errc::not_found: no such file; errc::invalid_argument: file:line, what is wrong, what is allowed
result<topology> read_topology(const std::filesystem::path& file);
result<topology> parse_topology(std::string_view toml, std::string_view source_name);
/// What parse_topology reads back as the same topology.
std::string to_toml(const topology& t);

} // namespace quadrant
