// quadrant run: one prompt, its answer as it is made, and how long it took.
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include "actors/bin/answer_queue.hpp"
#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "actors/chat_text.hpp"
#include "config/clock.hpp"
#include "config/hash.hpp"

namespace quadrant::bin {
namespace {

constexpr auto poll_period = std::chrono::milliseconds(100);

struct run_flags {
  engine_flags engine;
  sampling_flags sampling;
  std::string prompt, tokens;
  std::int32_t max_tokens = 0;
  bool ignore_eos = false, json = false, json_object = false;
};

/// What the answer was, for the last line.
struct answer {
  std::vector<std::int32_t> ids;
  std::vector<std::uint64_t> digests;
  std::string text;
  std::int64_t asked_ns = 0, first_ns = 0, last_ns = 0;
  result<actors::finish> end = actors::finish::stop;

  [[nodiscard]] double ttft_ms() const { return double(first_ns - asked_ns) * 1e-6; }
  /// Mean gap after the first token.
  [[nodiscard]] double tpot_ms() const {
    return ids.size() < 2 ? 0 : double(last_ns - first_ns) * 1e-6 / double(ids.size() - 1);
  }
  /// xxh3 over the row digests of every step.
  [[nodiscard]] std::string digest() const { return to_hex(xxh3(std::as_bytes(std::span(digests)))); }
};

/// Reads the answer to its end; shows the text as it comes unless `quiet`.
answer take_answer(actors::engine& engine, std::uint64_t id, answer_queue& queue,
                   std::optional<model::token_decoder> decoder, std::int64_t asked_ns, bool quiet) {
  answer a;
  a.asked_ns = asked_ns;
  const auto show = [&](const std::string& text) {
    a.text += text;
    if (quiet) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  for (bool cancelled = false;;) {
    if (asked_to_stop() && !std::exchange(cancelled, true)) engine.cancel(id);
    const auto event = queue.next(poll_period);
    if (!event) continue;
    if (event->is_end()) {
      a.end = event->end;
      if (decoder) show(decoder->flush());
      return a;
    }
    if (a.ids.empty()) a.first_ns = event->at_ns;
    a.last_ns = event->at_ns;
    a.ids.push_back(event->token);
    a.digests.push_back(event->digest);
    if (decoder) show(decoder->push(event->token));
  }
}

void print_json(const answer& a, std::size_t prompt_tokens) {
  const nlohmann::ordered_json object{{"text", a.text},
                                      {"token_ids", a.ids},
                                      {"finish_reason", *a.end == actors::finish::stop     ? "stop"
                                                        : *a.end == actors::finish::length ? "length"
                                                                                           : "cancelled"},
                                      {"usage",
                                       {{"prompt_tokens", prompt_tokens},
                                        {"completion_tokens", a.ids.size()},
                                        {"total_tokens", prompt_tokens + a.ids.size()}}},
                                      {"ttft_ms", a.ttft_ms()},
                                      {"tpot_ms", a.tpot_ms()},
                                      {"logits_digest", a.digest()}};
  std::printf("%s\n", object.dump().c_str());
}

result<int> run(const run_flags& flags) {
  if (flags.prompt.empty() == flags.tokens.empty())
    return {errc::invalid_argument,
            "run needs either a prompt, like quadrant run \"What is a violin?\", or --tokens 1,2,3"};
  QUADRANT_TRY(auto options, flags.engine.options());
  QUADRANT_TRY(const auto config, model::read_model_config(options.model));
  auto text = actors::chat_text::open(options.model, config);
  if (!text && flags.tokens.empty()) return text.error(); // token ids need no tokenizer

  actors::generation what;
  if (flags.tokens.empty()) {
    QUADRANT_TRY(what.tokens, text->prompt(std::string_view(flags.prompt)));
  } else {
    QUADRANT_TRY(what.tokens, parse_tokens(flags.tokens));
  }
  what.max_new_tokens = flags.max_tokens;
  if (flags.json_object) what.form = actors::answer_form::json_object;
  if (!flags.ignore_eos) what.stop_tokens = text ? text->stop_tokens() : config.eos_token_ids;
  what.sampling = flags.sampling.over(text ? text->sampling() : gpu::sampling{});
  const auto prompt_tokens = what.tokens.size();

  if (!options.layout.processes.empty())
    std::fprintf(stderr, "starting %zu processes\n", options.layout.processes.size());
  QUADRANT_TRY(const auto engine, actors::engine::start(std::move(options)));
  const bounded_exit bounded;
  const auto queue = std::make_shared<answer_queue>();
  const auto asked_ns = steady_clock::monotonic_ns();
  const auto id = engine->submit(std::move(what), queue);
  const auto start = flags.tokens.empty() ? model::text_start::own : model::text_start::continued;
  const auto a =
      take_answer(*engine, id, *queue, text ? std::optional(text->decoder(start)) : std::nullopt, asked_ns, flags.json);
  if (!flags.json && !a.text.empty()) std::printf("\n");
  if (!a.end) return a.end.error();

  if (flags.json) {
    print_json(a, prompt_tokens);
  } else {
    if (!text) {
      for (const auto token : a.ids) std::printf("%d ", token);
      std::printf("\n");
    }
    std::fflush(stdout);
    std::fprintf(stderr, "\n%zu + %zu tokens, TTFT %.1f ms, TPOT %.2f ms, %.0f tokens/s\n", prompt_tokens, a.ids.size(),
                 a.ttft_ms(), a.tpot_ms(), a.tpot_ms() == 0 ? 0 : 1000 / a.tpot_ms());
  }
  std::fflush(stdout);
  return asked_to_stop() ? 130 : 0;
}

} // namespace

command add_run(CLI::App& program) {
  auto* app = program.add_subcommand("run", "Answers one prompt");
  const auto flags = std::make_shared<run_flags>();
  app->add_option("prompt", flags->prompt, "what to ask");
  app->add_option("--tokens", flags->tokens, "token ids instead of a prompt, like 1,2,3; needs no tokenizer");
  app->add_option("--max-tokens", flags->max_tokens, "most new tokens (default: the model's)")
      ->check(CLI::Range(1, 1 << 20));
  app->add_flag("--ignore-eos", flags->ignore_eos, "go on to --max-tokens");
  app->add_flag("--json-object", flags->json_object, "the answer is a JSON object, whatever the model would say");
  app->add_flag("--json", flags->json, "print one JSON object instead of the text");
  flags->engine.add_to(*app);
  flags->sampling.add_to(*app);
  return {app, [flags] {
            watch_signals();
            auto status = run(*flags);
            return status ? *status : fail(status.error());
          }};
}

} // namespace quadrant::bin
