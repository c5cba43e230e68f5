// quadrant serve: a cluster behind an OpenAI-compatible HTTP server.
#include "actors/bin/serve.hpp"

#include <cstdio>
#include <cstdlib>
#include <thread>

#include <sys/resource.h>

#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "actors/chat_text.hpp"
#include "actors/http/server.hpp"
#include "config/log.hpp"

namespace quadrant::bin {
namespace {

using actors::http::http_server;

constexpr auto poll_period = std::chrono::milliseconds(50);
/// What a serving process opens beside connections: weights, sockets of its cluster, the standard streams.
constexpr rlim_t other_files = 256;

struct serve_flags {
  engine_flags engine;
  std::string host = "127.0.0.1";
  std::uint16_t port = default_port, control_port = default_control_port;
  std::vector<std::string> keys, key_files;
  actors::http::limits allowed;
  double idle_seconds = double(allowed.idle_ms) / 1000, head_seconds = double(allowed.head_ms) / 1000;
  std::string log_format = "text";
  int drain_seconds = 30;
  bool external_nodes = false;
};

result<actors::http::api_keys> read_keys(const serve_flags& flags) {
  actors::http::api_keys keys;
  for (const auto& key : flags.keys) QUADRANT_TRY_VOID(keys.add(key));
  for (const auto& file : flags.key_files) {
    QUADRANT_TRY_VOID(keys.add_file(file));
    // No error: containers get their secrets so, and are alone in there.
    if (actors::http::is_world_readable(file))
      std::fprintf(stderr, "every user of this machine may read the API keys in %s; chmod 600 keeps them\n",
                   file.c_str());
  }
  if (const char* key = std::getenv("QUADRANT_API_KEY"); key != nullptr && *key != '\0')
    QUADRANT_TRY_VOID(keys.add(key));
  return keys;
}

bool is_loopback(const std::string& host) { return host == "localhost" || host.starts_with("127.") || host == "::1"; }

/// A connection is an open file: asks for as many as the system lets this process have.
void allow_files(std::size_t connections) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < connections + other_files)
    std::fprintf(stderr, "this process may open %llu files, too few for %zu connections; ulimit -n raises it\n",
                 (unsigned long long)files.rlim_cur, connections);
}

/// Opens the door, which says "loading" until the cluster is there.
result<std::unique_ptr<http_server>> open_door(const serve_flags& flags, const std::string& model) {
  QUADRANT_TRY(auto keys, read_keys(flags));
  const bool open_to_all = keys.empty() && !is_loopback(flags.host);
  auto allowed = flags.allowed;
  allowed.idle_ms = std::int64_t(flags.idle_seconds * 1000);
  allowed.head_ms = std::int64_t(flags.head_seconds * 1000);
  allow_files(allowed.connections);
  QUADRANT_TRY(auto server, http_server::start({.host = flags.host,
                                                .port = flags.port,
                                                .model = model,
                                                .version = QUADRANT_VERSION,
                                                .keys = std::move(keys),
                                                .allowed = allowed}));
  if (open_to_all)
    std::fprintf(stderr, "whoever reaches %s:%u may ask: there is no --api-key\n", flags.host.c_str(),
                 unsigned(server->port()));
  return server;
}

result<void> serve(const serve_flags& flags) {
  QUADRANT_TRY(auto options, flags.engine.options());
  options.control_port = flags.control_port;
  options.start_nodes = !flags.external_nodes;
  const auto name = flags.engine.model.empty() ? std::string("default")
                                               : std::filesystem::weakly_canonical(options.model).filename().string();
  QUADRANT_TRY(const auto config, model::read_model_config(options.model));
  if (const auto processes = options.layout.processes.size(); processes > 0)
    options.joinable = [processes, external = flags.external_nodes](std::uint16_t control_port) {
      std::fprintf(stderr,
                   external ? "waiting for %zu processes to join at 127.0.0.1:%u\n"
                            : "starting %zu processes, control port 127.0.0.1:%u\n",
                   processes, unsigned(control_port));
    };
  std::unique_ptr<actors::engine> engine; // ends after the server
  QUADRANT_TRY(const auto server, open_door(flags, name));
  QUADRANT_TRY(auto text, actors::chat_text::open(options.model, config));
  QUADRANT_TRY(engine, actors::engine::start(std::move(options)));
  server->serve(*engine, std::move(text));
  const bounded_exit bounded;
  std::fprintf(stderr, "serving %s at http://%s:%u/v1, control port 127.0.0.1:%u\n", name.c_str(), flags.host.c_str(),
               unsigned(server->port()), unsigned(engine->control_port()));

  while (!asked_to_stop()) std::this_thread::sleep_for(poll_period);
  std::fprintf(stderr, "draining: answers under way have %d s; a second signal ends at once\n", flags.drain_seconds);
  const auto ended = server->drain(std::chrono::seconds(flags.drain_seconds));
  if (ended > 0) std::fprintf(stderr, "%zu answers were cut short\n", ended);
  return {};
}

void add_limits(CLI::App& app, serve_flags& flags) {
  const auto* group = "Limits";
  app.add_option("--max-connections", flags.allowed.connections, "one more is told 503")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-body-bytes", flags.allowed.body_bytes, "of a request; a longer one is told 413")
      ->check(CLI::Range(1024, 1 << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--idle-timeout", flags.idle_seconds, "seconds that a connection may lie idle")
      ->check(CLI::Range(0.1, 86'400.0))
      ->capture_default_str()
      ->group(group);
  app.add_option("--header-timeout", flags.head_seconds, "seconds that the head of a request may take")
      ->check(CLI::Range(0.1, 3'600.0))
      ->capture_default_str()
      ->group(group);
}

} // namespace

command add_serve(CLI::App& program) {
  auto* app = program.add_subcommand("serve", "Serves a model by the OpenAI API");
  const auto flags = std::make_shared<serve_flags>();
  app->add_option("--host", flags->host, "address to listen on")->capture_default_str();
  app->add_option("--port", flags->port, "of HTTP; 0: any")->capture_default_str();
  app->add_option("--control-port", flags->control_port,
                  "where processes join and `quadrant status` asks, on loopback; 0: any")
      ->capture_default_str();
  app->add_option("--api-key", flags->keys,
                  "a key that clients may show; several are allowed. Other users see it in the list of processes: the "
                  "variable QUADRANT_API_KEY and --api-key-file do not show it");
  app->add_option("--api-key-file", flags->key_files, "keys, one a line; # begins a comment");
  app->add_flag("--external-nodes", flags->external_nodes,
                "do not start the topology's processes: they join by themselves");
  app->add_option("--drain-seconds", flags->drain_seconds, "for answers under way after SIGTERM")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  app->add_option("--log-format", flags->log_format, "text, or json: an object a line; QUADRANT_LOG=info logs requests")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  add_limits(*app, *flags);
  flags->engine.add_to(*app);
  return {app, [app, flags] {
            if (app->count("--log-format") > 0) {
              setenv("QUADRANT_LOG_FORMAT", flags->log_format.c_str(), 1); // of the processes that are started too
              log::start(log::level::warn);
            }
            watch_signals();
            const auto done = serve(*flags);
            return done ? 0 : fail(done.error());
          }};
}

} // namespace quadrant::bin
