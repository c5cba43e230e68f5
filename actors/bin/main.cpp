// actors/bin/main.cpp: the program `quadrant`.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <new>
#include <string>
#include <string_view>

#include "actors/bin/commands.hpp"
#include "config/log.hpp"
#include "config/progress.hpp"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN); // a closed pipe is an error of one write
  quadrant::log::start(quadrant::log::level::warn);
  if (argc > 1 && std::string_view(argv[1]) != "node") quadrant::progress::show(); // a node's terminal is another's

  CLI::App program("Serves sparse mixture-of-experts language models from one process or many.", "quadrant");
  program.set_version_flag("--version", "quadrant " QUADRANT_VERSION);
  program.require_subcommand(1);
  const quadrant::bin::command commands[] = {
      quadrant::bin::add_run(program),      quadrant::bin::add_serve(program),
      quadrant::bin::add_status(program),   quadrant::bin::add_logits(program),
      quadrant::bin::add_node(program),     quadrant::bin::add_topology(program),
      quadrant::bin::add_bench(program),    quadrant::bin::add_loadgen(program),
      quadrant::bin::add_inspect(program),  quadrant::bin::add_make_random(program),
      quadrant::bin::add_quantize(program), quadrant::bin::add_tokenize(program),
      quadrant::bin::add_template(program), quadrant::bin::add_detokenize(program)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return program.exit(e); // --help, --version
    if (argc > 1 && argv[1][0] != '-' &&
        std::ranges::none_of(commands, [&](const auto& c) { return c.flags->get_name() == argv[1]; }))
      std::fprintf(stderr, "quadrant: no such command: %s; see quadrant --help\n", argv[1]);
    else
      std::fprintf(stderr, "quadrant: %s; see quadrant --help\n", e.what());
    return 2;
  }
  try {
    for (const auto& c : commands)
      if (c.flags->parsed()) return c.run();
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "quadrant %s: there is not enough memory; ask for less at once\n", argv[1]);
    return 1;
  }
  return 2;
}
