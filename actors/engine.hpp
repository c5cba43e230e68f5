// actors/engine.hpp: a Quadrant cluster as an object, for embedding: start it, submit token sequences, get tokens.
//
//   auto engine = quadrant::actors::engine::start({.model = dir, .layout = topology});
//   auto id = (*engine)->submit({.tokens = prompt, .max_new_tokens = 64}, sink);
//
// The engine owns everything it starts: actors, devices, and the processes of a topology that names some.
// Threads any; sinks are called on actor threads
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/token_sink.hpp"
#include "config/result.hpp"
#include "config/topology.hpp"
#include "gpu/sampling.hpp"
#include "model/model_config.hpp"

namespace quadrant::actors {

struct engine_options {
  std::filesystem::path model{};
  topology layout{};
  bool start_nodes = true;            ///< false: the processes of the topology join by themselves
  std::filesystem::path executable{}; ///< `quadrant`, for the processes to start; empty: this program
  std::uint16_t control_port = 0;     ///< where processes join and `quadrant status` asks, on loopback; 0: any
  std::string cluster_token{};        ///< for the data plane's handshake; empty: a random one
  std::function<void(std::uint16_t control_port)> joinable{}; ///< called once processes can join
  std::function<bool()> stop{};                               ///< asked while the cluster starts: true gives up
};

/// What an answer must be.
enum class answer_form : std::uint8_t { text, json_object };

struct generation {
  std::vector<std::int32_t> tokens{};
  std::int32_t max_new_tokens = 0; ///< of each sample; 0: the model's default, cut to what fits its positions
  std::int32_t min_new_tokens = 0; ///< no stop token is sampled before
  std::vector<std::int32_t> stop_tokens{};
  gpu::sampling sampling{}; ///< sample i has sample_index + i
  std::vector<gpu::logit_bias> bias{};
  answer_form form = answer_form::text;
  std::int32_t samples = 1;       ///< of one prompt, which they share
  std::int32_t top_logprobs = -1; ///< so many with each token, and its own; -1: none
  bool all_logits = false;        ///< the logits of every prompt position, and no new token
};
/// The limits of a generation, beside the model's.
inline constexpr std::int32_t max_top_logprobs = gpu::max_top_logprobs, max_logit_biases = 1024;

struct actor_status {
  std::uint64_t id = 0;
  std::string role, node, state;
  std::uint64_t mailbox = 0, messages = 0, busy_ns = 0, max_ns = 0;
};

struct cluster_status {
  bool serving = false;
  std::string note;
  std::vector<actor_status> actors;
  std::int64_t blocks_total = 0, blocks_free = 0, blocks_used = 0, blocks_cached = 0, leases = 0, requests_live = 0,
               credits_out = 0;
  std::vector<std::pair<std::string, double>> gauges; ///< of one name several: one a worker
};
std::string to_json(const cluster_status& status);

class engine {
public:
  /// Returns when the cluster serves.
  /// Errors  errc::not_found, errc::corrupt, errc::invalid_argument: model or topology; errc::unavailable: not enough
  ///         memory; errc::peer_lost: a process ended while it started; errc::cancelled: `stop` said so
  static result<std::unique_ptr<engine>> start(engine_options options);
  virtual ~engine() = default; ///< ends requests, actors and processes

  /// Never blocks; what is wrong comes to the sink. Returns the id to cancel.
  virtual std::uint64_t submit(generation what, std::shared_ptr<token_sink> sink) = 0;
  virtual void cancel(std::uint64_t id) = 0;
  virtual void cancel(std::uint64_t id, std::int32_t sample) = 0; ///< the others go on
  [[nodiscard]] virtual cluster_status status() = 0;
  [[nodiscard]] virtual const model::model_config& config() const = 0;
  [[nodiscard]] virtual std::uint16_t control_port() const = 0;
};

/// Runs one process of a cluster until its supervisor is gone or `stop` says so. name: empty takes any that is missing.
/// Errors  errc::peer_lost: nobody answers at host:port, or the supervisor is gone
result<void> run_node(const std::string& host, std::uint16_t port, const std::string& name,
                      const std::function<bool()>& stop);

/// The state of a cluster of another process.
/// Errors  errc::peer_lost: nobody answers at host:port; errc::unavailable: its supervisor is too busy or gone
result<cluster_status> status_of(const std::string& host, std::uint16_t port);

} // namespace quadrant::actors
