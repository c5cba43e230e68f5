// quadrant serve: a cluster behind an OpenAI-compatible HTTP server.
#include "actors/bin/serve.hpp"

#include <cstdio>
#include <thread>

#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "actors/chat_text.hpp"
#include "actors/http/server.hpp"
#include "config/log.hpp"

namespace quadrant::bin {
namespace {

constexpr auto poll_period = std::chrono::milliseconds(50);

struct serve_flags {
  engine_flags engine;
  std::string host = "127.0.0.1";
  std::uint16_t port = default_port, control_port = default_control_port;
  int drain_seconds = 30;
  bool external_nodes = false;
};

result<void> serve(const serve_flags& flags) {
  QUADRANT_TRY(auto options, flags.engine.options());
  options.control_port = flags.control_port;
  options.start_nodes = !flags.external_nodes;
  const auto name = flags.engine.model.empty() ? std::string("default")
                                               : std::filesystem::weakly_canonical(options.model).filename().string();
  QUADRANT_TRY(const auto config, model::read_model_config(options.model));
  QUADRANT_TRY(auto text, actors::chat_text::open(options.model, config));
  if (const auto processes = options.layout.processes.size(); processes > 0)
    options.joinable = [processes, external = flags.external_nodes](std::uint16_t control_port) {
      std::fprintf(stderr,
                   external ? "waiting for %zu processes to join at 127.0.0.1:%u\n"
                            : "starting %zu processes, control port 127.0.0.1:%u\n",
                   processes, unsigned(control_port));
    };
  QUADRANT_TRY(const auto engine, actors::engine::start(std::move(options)));
  const bounded_exit bounded;
  QUADRANT_TRY(const auto server,
               actors::http::http_server::start({.host = flags.host, .port = flags.port, .model = name, .allowed = {}},
                                                *engine, std::move(text)));
  const bounded_exit server_bounded; // its end comes before the engine's
  std::fprintf(stderr, "serving %s at http://%s:%u/v1, control port 127.0.0.1:%u\n", name.c_str(), flags.host.c_str(),
               unsigned(server->port()), unsigned(engine->control_port()));

  while (!asked_to_stop()) std::this_thread::sleep_for(poll_period);
  std::fprintf(stderr, "draining: answers under way have %d s; a second signal ends at once\n", flags.drain_seconds);
  const auto ended = server->drain(std::chrono::seconds(flags.drain_seconds));
  if (ended > 0) std::fprintf(stderr, "%zu answers were cut short\n", ended);
  return {};
}

} // namespace

command add_serve(CLI::App& program) {
  auto* app = program.add_subcommand("serve", "Serves a model by the OpenAI API");
  const auto flags = std::make_shared<serve_flags>();
  app->add_option("--host", flags->host, "address to listen on; there is no authentication")->capture_default_str();
  app->add_option("--port", flags->port, "of HTTP; 0: any")->capture_default_str();
  app->add_option("--control-port", flags->control_port,
                  "where processes join and `quadrant status` asks, on loopback; 0: any")
      ->capture_default_str();
  app->add_flag("--external-nodes", flags->external_nodes,
                "do not start the topology's processes: they join by themselves");
  app->add_option("--drain-seconds", flags->drain_seconds, "for answers under way after SIGTERM")
      ->check(CLI::Range(0, 3600))
      ->capture_default_str();
  flags->engine.add_to(*app);
  return {app, [flags] {
            watch_signals();
            const auto done = serve(*flags);
            return done ? 0 : fail(done.error());
          }};
}

} // namespace quadrant::bin
