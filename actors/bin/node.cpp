// quadrant node: one process of a cluster; its supervisor tells it what to run.
#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "config/log.hpp"

namespace quadrant::bin {

command add_node(CLI::App& program) {
  struct node_flags {
    std::string join, name;
  };
  auto* app = program.add_subcommand("node", "Joins a cluster and runs the workers that it is given");
  const auto flags = std::make_shared<node_flags>();
  app->add_option("--join", flags->join, "HOST:PORT of the process that serves")->required();
  app->add_option("--name", flags->name, "of this process in the topology (default: one that is missing)");
  return {app, [flags] {
            watch_signals();
            const auto where = parse_address(flags->join);
            if (!where) return fail(where.error());
            const auto ended = actors::run_node(where->host, where->port, flags->name, asked_to_leave);
            return ended ? 0 : fail(ended.error());
          }};
}

} // namespace quadrant::bin
