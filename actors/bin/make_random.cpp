// quadrant make-random: a checkpoint of any shape with random weights.
#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "model/random_checkpoint.hpp"

namespace quadrant::bin {

command add_make_random(CLI::App& program) {
  auto* app = program.add_subcommand("make-random", "Writes a checkpoint with random weights, to measure a shape");
  const auto wanted = std::make_shared<model::random_checkpoint>();
  app->add_option("--like", wanted->like, "config.json of the shape, or a directory that holds one")->required();
  app->add_option("out", wanted->out, "directory to write; whole files of an earlier run are kept")->required();
  app->add_option("--seed", wanted->seed, "of the weights")->capture_default_str();
  return {app, [wanted] {
            const auto written = model::write_random_checkpoint(*wanted);
            return written ? 0 : fail(written.error());
          }};
}

} // namespace quadrant::bin
