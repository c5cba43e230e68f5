// quadrant loadgen: sends requests to any OpenAI server as their users would, and tells what those would have seen.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "actors/bin/commands.hpp"
#include "actors/bin/serve.hpp"
#include "actors/bin/session.hpp"
#include "actors/loadgen/arrivals.hpp"
#include "actors/loadgen/duration_text.hpp"
#include "actors/loadgen/generator.hpp"
#include "actors/loadgen/picture.hpp"
#include "actors/loadgen/probe.hpp"
#include "actors/loadgen/report.hpp"
#include "config/clock.hpp"
#include "config/progress.hpp"
#include "config/random.hpp"

namespace quadrant::bin {
namespace {

namespace loadgen = actors::loadgen;
using json = nlohmann::ordered_json;

struct loadgen_flags {
  std::string url = "http://127.0.0.1:" + std::to_string(default_port), model, api_key, endpoint = "chat", extra;
  std::optional<double> rate, burstiness;
  std::string arrivals, trace, prompts, input = "128", output = "64";
  double speed = 1, scale = 1;
  std::size_t limit = 0, max_concurrency = 0;
  std::int32_t max_input = 0, max_output = 0;
  std::optional<std::uint64_t> seed;
  std::string timeout = "10m";
  std::vector<std::string> slo;
  bool keep_eos = false, as_json = false;
  std::string requests_file, svg_file;

  void add_to(CLI::App& app);
  void add_load_to(CLI::App& app);
};

void loadgen_flags::add_to(CLI::App& app) {
  app.add_option("--url", url, "of the server; https:// too")->capture_default_str();
  app.add_option("--model", model, "to ask for (default: the first of /v1/models)");
  app.add_option("--api-key", api_key, "sent as a bearer token")->envname("OPENAI_API_KEY");
  app.add_option("--endpoint", endpoint, "chat or completions")
      ->capture_default_str()
      ->check(CLI::IsMember({"chat", "completions"}));
  app.add_flag("--no-ignore-eos", keep_eos, "for servers that refuse ignore_eos: answers end when they end");
  app.add_option("--extra-body", extra, "JSON object laid over each request's; null takes a field away");
  add_load_to(app);
  app.add_option("--timeout", timeout, "of a request, as 30s")->capture_default_str();
  app.add_option("--slo", slo, "an objective of goodput: ttft=500ms, tpot=50ms, e2e=5s; may be given several times");
  app.add_flag("--json", as_json, "one JSON object");
  app.add_option("--requests", requests_file, "file for one JSON line a request");
  app.add_option("--svg", svg_file, "file for a picture of the run");
}

void loadgen_flags::add_load_to(CLI::App& app) {
  app.add_option("--arrivals", arrivals, "poisson, gamma, constant or at-once (default: the trace's times, or poisson)")
      ->check(CLI::IsMember({"poisson", "gamma", "constant", "at-once"}));
  app.add_option("--rate", rate, "requests a second (default: 1)")->check(CLI::Range(1e-6, 1e6));
  app.add_option("--burstiness", burstiness, "of gamma: 1 as poisson, above 1 in clumps (default: 4)")
      ->check(CLI::Range(1e-3, 1e3));
  app.add_option("--limit", limit, "requests to send (default: all of the trace, or 100)")
      ->check(CLI::Range(1, 100'000'000));
  auto* from = app.add_option("--trace", trace, "file of requests: Mooncake's JSON lines or Azure's CSV");
  app.add_option("--speed", speed, "the trace's times divided by this")
      ->needs(from)
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1e6));
  app.add_option("--scale", scale, "the trace's lengths times this; what requests share stays shared")
      ->needs(from)
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1e3));
  app.add_option("--input-tokens", input, "of a prompt, as 128 or 64:256 for any between")
      ->excludes(from)
      ->capture_default_str();
  app.add_option("--output-tokens", output, "of an answer, likewise")->excludes(from)->capture_default_str();
  app.add_option("--max-input", max_input, "longer prompts lose their end")->check(CLI::Range(1, 1 << 30));
  app.add_option("--max-output", max_output, "longer answers are not asked for")->check(CLI::Range(1, 1 << 30));
  app.add_option("--prompts", prompts, "file of prompts, a JSON string a line, used in turn (default: made-up words)");
  app.add_option("--max-concurrency", max_concurrency, "requests under way; more wait here (default: any number)")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--seed", seed, "of times, lengths and words (default: drawn, so that no cache knows the prompts)");
}

/// Errors  errc::not_found, errc::invalid_argument FILE:LINE
result<std::vector<std::string>> read_prompts(const std::string& file) {
  std::ifstream in(file);
  if (!in) return {errc::not_found, "the prompts " + file + " cannot be read"};
  std::vector<std::string> list;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    const auto value = json::parse(line, nullptr, false);
    if (!value.is_string())
      return {errc::invalid_argument,
              file + ":" + std::to_string(number) + ": must be a JSON string, as \"What is a river?\""};
    list.push_back(value.get<std::string>());
  }
  if (list.empty()) return {errc::invalid_argument, file + " holds no prompts"};
  return list;
}

/// A file that can be written is known before the run, not after it.
result<std::optional<std::ofstream>> open_output(const std::string& file) {
  if (file.empty()) return std::optional<std::ofstream>();
  std::optional<std::ofstream> out(std::in_place, file, std::ios::binary | std::ios::trunc);
  if (!*out) return {errc::invalid_argument, file + " cannot be written"};
  return out;
}

/// What is sent when, in words too.
struct load {
  loadgen::workload plan;
  std::string arrivals; ///< "poisson arrivals, 4 requests/s"
  json settings;
};

result<load> plan_load(const loadgen_flags& flags, std::uint64_t seed) {
  using loadgen::arrival_kind;
  load made;
  const bool own_times = flags.trace.empty() || !flags.arrivals.empty() || flags.rate || flags.burstiness;
  loadgen::arrivals how{.kind = flags.burstiness ? arrival_kind::gamma : arrival_kind::poisson,
                        .rate = flags.rate.value_or(1),
                        .burstiness = flags.burstiness.value_or(4)};
  for (const auto kind : {arrival_kind::poisson, arrival_kind::gamma, arrival_kind::constant, arrival_kind::at_once})
    if (flags.arrivals == loadgen::to_string(kind)) how.kind = kind;
  if (flags.burstiness && how.kind != arrival_kind::gamma)
    return {errc::invalid_argument, "--burstiness is of --arrivals gamma"};
  if (flags.rate && how.kind == arrival_kind::at_once)
    return {errc::invalid_argument, "--rate means nothing beside --arrivals at-once"};
  if (flags.trace.empty()) {
    QUADRANT_TRY(const auto input, loadgen::parse_length(flags.input));
    QUADRANT_TRY(const auto output, loadgen::parse_length(flags.output));
    const auto times = loadgen::draw(how, flags.limit == 0 ? 100 : flags.limit, seed);
    made.plan = loadgen::draw(times, input, output, seed + 1);
  } else {
    QUADRANT_TRY(made.plan.requests, loadgen::read_trace(flags.trace, flags.limit == 0 ? SIZE_MAX : flags.limit));
    if (flags.scale != 1) loadgen::scale_lengths(made.plan, flags.scale);
    if (own_times) {
      const auto times = loadgen::draw(how, made.plan.requests.size(), seed);
      for (std::size_t i = 0; i < times.size(); ++i) made.plan.requests[i].at_ns = times[i];
    } else {
      loadgen::speed_up(made.plan, flags.speed);
    }
  }
  const auto round = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return std::string(text);
  };
  auto& s = made.settings;
  if (!flags.trace.empty()) s = {{"trace", flags.trace}, {"scale", flags.scale}};
  if (!own_times) {
    s["arrivals"] = "trace";
    s["speed"] = flags.speed;
    made.arrivals =
        "the times of a trace" + (flags.speed == 1 ? std::string() : ", " + round(flags.speed) + " times as fast");
  } else {
    s["arrivals"] = loadgen::to_string(how.kind);
    if (how.kind != arrival_kind::at_once) s["rate"] = how.rate;
    if (how.kind == arrival_kind::gamma) s["burstiness"] = how.burstiness;
    made.arrivals = std::string(loadgen::to_string(how.kind)) + " arrivals";
    if (how.kind != arrival_kind::at_once) made.arrivals += ", " + round(how.rate) + " requests/s";
    if (how.kind == arrival_kind::gamma) made.arrivals += ", burstiness " + round(how.burstiness);
  }
  s["seed"] = seed;
  return made;
}

/// How far it is: a line of a terminal, or else a line every few seconds.
void show_progress(const loadgen::tally& t) {
  constexpr std::int64_t between_ns = 5'000'000'000;
  static std::int64_t last_ns = steady_clock::monotonic_ns();
  static const bool terminal = isatty(STDERR_FILENO) != 0;
  char what[128];
  std::snprintf(what, sizeof what, "%zu under way, %zu waiting, %zu failed, %lld pieces", t.in_flight, t.waiting,
                t.failed, (long long)t.pieces);
  if (terminal) return progress::report(what, t.ended, t.total, "requests");
  if (steady_clock::monotonic_ns() - last_ns < between_ns) return;
  last_ns = steady_clock::monotonic_ns();
  std::fprintf(stderr, "loadgen: %zu of %zu requests ended, %s\n", t.ended, t.total, what);
}

/// The second line of a picture.
std::string in_a_line(const loadgen::summary& s, const load& what) {
  auto line = what.arrivals + " · " + std::to_string(s.completed) + " of " + std::to_string(s.planned) +
              " completed in " + loadgen::rounded(s.duration_s) + " s · " +
              loadgen::rounded(s.a_second(double(s.completed))) + " requests/s, " +
              loadgen::rounded(s.a_second(double(s.output_tokens))) + " tokens/s out";
  if (!s.objectives.empty()) line += " · goodput " + loadgen::rounded(s.a_second(double(s.good))) + " requests/s";
  return line;
}

/// Model, positions and the rate of words, asked of the server; clips the plan to what it can take.
struct known_server {
  loadgen::question_form form;
  loadgen::token_rate rate;
  std::size_t clipped = 0;
};

result<known_server> know_server(const loadgen_flags& flags, loadgen::probe& ask, load& what) {
  using loadgen::probe;
  known_server known;
  known.form.chat = flags.endpoint == "chat";
  known.form.ignore_eos = !flags.keep_eos;
  if (!flags.extra.empty()) {
    known.form.extra = json::parse(flags.extra, nullptr, false);
    if (!known.form.extra.is_object())
      return {errc::invalid_argument, "--extra-body must be a JSON object, as '{\"temperature\": 0}'"};
  }
  QUADRANT_TRY(const auto model, ask.find_model(flags.model));
  known.form.model = model.name;
  what.settings["url"] = ask.to.where().url();
  what.settings["endpoint"] = flags.endpoint;
  what.settings["model"] = model.name;
  what.settings["max_model_len"] = model.max_positions;
  if (flags.prompts.empty()) {
    QUADRANT_TRY(const auto counted, ask.measure_rate(known.form, model.max_positions));
    known.rate = counted.rate;
    what.settings["prompts"] = {{"counted_by", loadgen::to_string(counted.how)},
                                {"tokens_per_word", counted.rate.per_word},
                                {"tokens_around", counted.rate.overhead}};
    if (counted.how == probe::counted::not_at_all)
      std::fprintf(stderr, "loadgen: the server counts no tokens; prompts are made for %s tokens a word\n",
                   loadgen::rounded(known.rate.per_word).c_str());
  } else {
    what.settings["prompts"] = flags.prompts;
  }
  const auto spare = std::max(8, model.max_positions / 50); // words are as many tokens as we think to 2 %
  known.clipped =
      loadgen::clip(what.plan, {.input = flags.max_input,
                                .output = flags.max_output,
                                .together = model.max_positions == 0 ? 0 : std::max(1, model.max_positions - spare)});
  what.settings["requests_clipped"] = known.clipped;
  if (flags.prompts.empty()) return known;
  for (auto& r : what.plan.requests) r.input_tokens = 0; // not ours to say
  return known;
}

result<int> run(const loadgen_flags& flags) {
  const auto seed = flags.seed ? *flags.seed : random_u64() >> 32; // short enough to be typed again
  QUADRANT_TRY(const auto timeout_ns, loadgen::parse_duration(flags.timeout));
  std::vector<loadgen::objective> objectives;
  for (const auto& text : flags.slo) {
    QUADRANT_TRY(const auto objective, loadgen::parse_objective(text));
    objectives.push_back(objective);
  }
  std::vector<std::string> texts;
  if (!flags.prompts.empty()) {
    QUADRANT_TRY(texts, read_prompts(flags.prompts));
  }
  QUADRANT_TRY(auto what, plan_load(flags, seed));
  QUADRANT_TRY(auto where, loadgen::parse_url(flags.url, flags.api_key));
  QUADRANT_TRY(auto requests_out, open_output(flags.requests_file));
  QUADRANT_TRY(auto svg_out, open_output(flags.svg_file));

  watch_signals();
  loadgen::allow_many_sockets();
  boost::asio::io_context io(1);
  QUADRANT_TRY(const auto client, loadgen::client::make(io, std::move(where)));
  loadgen::probe ask{.io = io, .to = *client, .timeout_ns = timeout_ns, .stop = asked_to_stop};
  QUADRANT_TRY(const auto server, know_server(flags, ask, what));
  const loadgen::prompt_writer writer(seed + 2, server.rate, what.plan.block_tokens);

  const auto done =
      loadgen::generator(io, *client,
                         {.plan = what.plan,
                          .form = server.form,
                          .prompt =
                              [&](std::size_t i) {
                                return texts.empty() ? writer.write(what.plan.requests[i], i) : texts[i % texts.size()];
                              },
                          .max_concurrency = flags.max_concurrency,
                          .timeout_ns = timeout_ns,
                          .stop = asked_to_stop,
                          .progress = show_progress})
          .run();
  progress::clear();

  const auto s = loadgen::summarise(done, objectives, flags.max_concurrency > 0);
  const auto title = server.form.model + " at " + client->where().url();
  if (flags.as_json) {
    std::printf("%s\n",
                loadgen::to_json(s, what.settings).dump(-1, ' ', false, json::error_handler_t::replace).c_str());
  } else {
    std::printf("%s: %s, seed %llu\n", title.c_str(), what.arrivals.c_str(), (unsigned long long)seed);
    if (server.clipped > 0) std::printf("%zu requests were made shorter to fit\n", server.clipped);
    std::printf("\n%s", loadgen::to_table(s).c_str());
  }
  if (requests_out)
    for (std::size_t i = 0; i < done.requests.size(); ++i)
      *requests_out << loadgen::to_json_line(done.requests[i], i, objectives) << '\n';
  if (svg_out) *svg_out << loadgen::draw_picture(done, s, title, in_a_line(s, what));
  for (auto* out : {&requests_out, &svg_out})
    if (*out && !(*out)->flush()) return {errc::unavailable, "not all of the results could be written to their file"};
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return {errc::unavailable, "the results could not be written to standard output"};
  return s.completed > 0 ? 0 : 1;
}

} // namespace

command add_loadgen(CLI::App& program) {
  auto* app =
      program.add_subcommand("loadgen", "Sends load to any OpenAI server and measures what its users would see");
  const auto flags = std::make_shared<loadgen_flags>();
  flags->add_to(*app);
  return {app, [flags] {
            const auto status = run(*flags);
            return status ? *status : fail(status.error());
          }};
}

} // namespace quadrant::bin
