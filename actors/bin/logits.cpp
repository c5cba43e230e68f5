// quadrant logits: the logits of every position of a prompt, through the same steps as serving; for checks against
// other programs.
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "actors/bin/all_logits.hpp"
#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"

namespace quadrant::bin {
namespace {

constexpr std::size_t num_top = 5;

struct logits_flags {
  engine_flags engine;
  std::string tokens;
  bool full = false, json = false;
};

/// The ids of the largest logits, (logit descending, id ascending).
std::vector<std::int32_t> top_of(std::span<const float> row) {
  std::vector<std::int32_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto count = std::min(num_top, ids.size());
  std::ranges::partial_sort(ids, ids.begin() + std::ptrdiff_t(count), [&](auto a, auto b) {
    return row[std::size_t(a)] > row[std::size_t(b)] || (row[std::size_t(a)] == row[std::size_t(b)] && a < b);
  });
  ids.resize(count);
  return ids;
}

/// Nine digits give a float back exactly.
void print_json(const std::vector<float>& logits, std::size_t vocabulary, bool full) {
  std::printf("{\"positions\":[");
  for (std::size_t at = 0; at < logits.size(); at += vocabulary) {
    const std::span row(logits.data() + at, vocabulary);
    std::printf("%s{\"top\":[", at == 0 ? "" : ",");
    const char* gap = "";
    for (const auto id : top_of(row))
      std::printf("%s[%d,%.9g]", std::exchange(gap, ","), id, double(row[std::size_t(id)]));
    std::printf("]");
    if (full) {
      std::printf(",\"logits\":[");
      gap = "";
      for (const auto value : row) std::printf("%s%.9g", std::exchange(gap, ","), double(value));
      std::printf("]");
    }
    std::printf("}");
  }
  std::printf("]}\n");
}

void print_table(const std::vector<float>& logits, std::size_t vocabulary) {
  for (std::size_t at = 0; at < logits.size(); at += vocabulary) {
    const std::span row(logits.data() + at, vocabulary);
    std::printf("%6zu ", at / vocabulary);
    for (const auto id : top_of(row)) std::printf(" %6d %9.4f", id, double(row[std::size_t(id)]));
    std::printf("\n");
  }
}

result<void> run(const logits_flags& flags) {
  QUADRANT_TRY(auto options, flags.engine.options());
  QUADRANT_TRY(auto tokens, parse_tokens(flags.tokens));
  QUADRANT_TRY(const auto engine, actors::engine::start(std::move(options)));
  const bounded_exit bounded;
  QUADRANT_TRY(const auto logits, all_logits(*engine, std::move(tokens)));
  const auto vocabulary = std::size_t(engine->config().vocab_size);
  if (flags.json)
    print_json(logits, vocabulary, flags.full);
  else
    print_table(logits, vocabulary);
  std::fflush(stdout);
  return {};
}

} // namespace

command add_logits(CLI::App& program) {
  auto* app = program.add_subcommand("logits", "Prints the likeliest tokens of every position of a prompt");
  const auto flags = std::make_shared<logits_flags>();
  app->add_option("--tokens", flags->tokens, "the prompt as token ids, like 1,2,3")->required();
  app->add_flag("--full", flags->full, "with --json: every logit");
  app->add_flag("--json", flags->json, "one JSON object");
  flags->engine.add_to(*app);
  return {app, [flags] {
            watch_signals();
            const auto done = run(*flags);
            return done ? 0 : fail(done.error());
          }};
}

} // namespace quadrant::bin
