// actors/bin/commands.hpp: the subcommands of `quadrant`. Each adds its flags to the command line and returns what runs
// it. A command returns its exit status; what went wrong is one line on stderr: what, where, what to do.
#pragma once
#include <functional>

#include <CLI/CLI.hpp>

namespace quadrant::bin {

/// One subcommand: its parser, and its body once the flags are read.
struct command {
  CLI::App* flags;
  std::function<int()> run;
};

command add_run(CLI::App& program);
command add_serve(CLI::App& program);
command add_node(CLI::App& program);
command add_status(CLI::App& program);
command add_logits(CLI::App& program);
command add_topology(CLI::App& program);
command add_bench(CLI::App& program);
command add_loadgen(CLI::App& program);
command add_make_random(CLI::App& program);
command add_inspect(CLI::App& program);
command add_quantize(CLI::App& program);
command add_tokenize(CLI::App& program);
command add_detokenize(CLI::App& program);
command add_template(CLI::App& program);

} // namespace quadrant::bin
