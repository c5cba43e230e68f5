// actors/bin/session.hpp: what the subcommands share: flags that choose a model and a topology, signals, the way out.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "actors/engine.hpp"
#include "config/result.hpp"

namespace quadrant::bin {

/// --model, --topology, --precision.
struct engine_flags {
  std::string model, topology, precision;

  void add_to(CLI::App& command);
  /// Errors  errc::not_found, errc::invalid_argument
  [[nodiscard]] result<actors::engine_options> options() const;
};

/// --temperature, --top-p, --top-k, --min-p, --seed.
struct sampling_flags {
  std::optional<float> temperature, top_p, min_p, presence, frequency, repetition;
  std::optional<std::int32_t> top_k;
  std::optional<std::uint64_t> seed;

  void add_to(CLI::App& command);
  /// `habits` where a flag is not given; a seed that is not given is drawn.
  [[nodiscard]] gpu::sampling over(gpu::sampling habits) const;
};

/// "1,2,3"
result<std::vector<std::int32_t>> parse_tokens(const std::string& text);

struct host_and_port {
  std::string host;
  std::uint16_t port = 0;
};
/// "127.0.0.1:8079"
result<host_and_port> parse_address(const std::string& text);

/// The model that comes with the program: found from a build tree and from an installed prefix.
result<std::filesystem::path> embedded_model();

/// Counts SIGINT and SIGTERM from now on; a second one ends the process at once.
void watch_signals();
[[nodiscard]] bool asked_to_stop();
/// The same, for where there is nothing to finish: once it says yes, the process has a while to leave by itself.
[[nodiscard]] bool asked_to_leave();

/// Destroyed before an engine, it bounds how long that may take to end.
class bounded_exit {
public:
  bounded_exit() = default;
  ~bounded_exit();
  bounded_exit(const bounded_exit&) = delete;
  bounded_exit& operator=(const bounded_exit&) = delete;
};

/// One line on stderr; returns the exit status.
int fail(const failure& why);

} // namespace quadrant::bin
