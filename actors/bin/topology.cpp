// quadrant topology: checks a topology file and shows which process runs which worker; what scripts/cluster-up reads.
#include <cstdio>

#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "config/topology.hpp"

namespace quadrant::bin {

command add_topology(CLI::App& program) {
  struct topology_flags {
    std::string file;
    bool processes = false;
  };
  auto* app = program.add_subcommand("topology", "Checks a topology file and shows what runs where");
  const auto flags = std::make_shared<topology_flags>();
  app->add_option("file", flags->file, "TOML file")->required();
  app->add_flag("--processes", flags->processes, "only the names of its processes, one a line");
  return {app, [flags] {
            const auto t = read_topology(flags->file);
            if (!t) return fail(t.error());
            if (!flags->processes && t->processes.empty())
              for (const auto& worker : t->worker_names()) std::printf("%-16s %s\n", "(this process)", worker.c_str());
            for (const auto& process : t->processes) {
              if (flags->processes)
                std::printf("%s\n", process.name.c_str());
              else
                for (const auto& worker : process.runs) std::printf("%-16s %s\n", process.name.c_str(), worker.c_str());
            }
            return 0;
          }};
}

} // namespace quadrant::bin
