// quadrant status: every actor of every process, and whether the books balance.
#include <cstdio>

#include "actors/bin/commands.hpp"
#include "actors/bin/serve.hpp"
#include "actors/bin/session.hpp"

namespace quadrant::bin {
namespace {

void print_table(const actors::cluster_status& s) {
  std::printf("%s%s%s\n\n", s.serving ? "serving" : "not serving", s.note.empty() ? "" : ": ", s.note.c_str());
  std::printf("%-14s %-32s %-12s %8s %10s %12s %11s\n", "node", "actor", "state", "mailbox", "messages", "handling ms",
              "longest ms");
  for (const auto& a : s.actors)
    std::printf("%-14s %-32s %-12s %8llu %10llu %12.1f %11.2f\n", a.node.c_str(), a.role.c_str(), a.state.c_str(),
                (unsigned long long)a.mailbox, (unsigned long long)a.messages, double(a.busy_ns) * 1e-6,
                double(a.max_ns) * 1e-6);
  std::printf("\nblocks %lld = %lld free + %lld used, %lld cached, %lld leased beyond; requests live %lld; steps in "
              "flight %lld\n",
              (long long)s.blocks_total, (long long)s.blocks_free, (long long)s.blocks_used, (long long)s.blocks_cached,
              (long long)s.leases, (long long)s.requests_live, (long long)s.credits_out);
  for (const auto& [name, value] : s.gauges) std::printf("%-56s %14.6g\n", name.c_str(), value);
}

} // namespace

command add_status(CLI::App& program) {
  struct status_flags {
    std::string connect = "127.0.0.1:" + std::to_string(default_control_port);
    bool json = false;
  };
  auto* app = program.add_subcommand("status", "Shows every actor of a cluster, and its books");
  const auto flags = std::make_shared<status_flags>();
  app->add_option("--connect", flags->connect, "HOST:PORT of its control port")->capture_default_str();
  app->add_flag("--json", flags->json, "one JSON object");
  return {app, [flags] {
            const auto where = parse_address(flags->connect);
            if (!where) return fail(where.error());
            const auto status = actors::status_of(where->host, where->port);
            if (!status) return fail(status.error());
            if (flags->json)
              std::printf("%s\n", actors::to_json(*status).c_str());
            else
              print_table(*status);
            return 0;
          }};
}

} // namespace quadrant::bin
