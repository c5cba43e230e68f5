// quadrant bench: what this machine can do, and what the kernels make of it.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "actors/bench/actor_ping.hpp"
#include "actors/bench/kv_handover.hpp"
#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "actors/model_source.hpp"
#include "gpu/bench/kernel_bench.hpp"
#include "gpu/bench/machine.hpp"
#include "model/bench/grammar_bench.hpp"
#include "model/bench/model_bench.hpp"
#include "transport/bench/transport_bench.hpp"

namespace quadrant::bin {
namespace {

using json = nlohmann::ordered_json;

struct bench_flags {
  int threads = int(gpu::usable_cores().size());
  std::string only;
  bool as_json = false;

  void add_to(CLI::App& app) {
    app.add_option("--threads", threads, "of the device; each is pinned to a core where there are enough")
        ->capture_default_str()
        ->check(CLI::Range(1, 1024));
    app.add_flag("--json", as_json, "one JSON object a line");
  }
  [[nodiscard]] gpu::team_options team() const {
    const auto cores = gpu::usable_cores();
    gpu::team_options o{.num_threads = threads};
    if (std::size_t(threads) <= cores.size()) o.cores.assign(cores.begin(), cores.begin() + threads);
    return o;
  }
};

void print(const gpu::bench::measurement& m) {
  std::string shape;
  for (const auto& [name, value] : m.shape) {
    char number[64];
    std::snprintf(number, sizeof number, "%s%s %.6g", shape.empty() ? "" : ", ", name.c_str(), value);
    shape += number;
  }
  std::printf("%-26s %12.1f us %9.1f %-5s %5.1f%% of %.1f (%s)\n%28s%s\n", m.name.c_str(), m.median_us, m.value,
              m.unit.c_str(), 100 * m.ratio, m.limit, m.limit_name.c_str(), "", shape.c_str());
  std::fflush(stdout);
}

void print_json(const gpu::bench::measurement& m) {
  json shape = json::object();
  for (const auto& [name, value] : m.shape)
    if (value == std::floor(value))
      shape[name] = std::int64_t(value);
    else
      shape[name] = value;
  const json line{{"name", m.name},   {"shape", shape}, {"threads", m.threads}, {"median_us", m.median_us},
                  {"value", m.value}, {"unit", m.unit}, {"limit", m.limit},     {"limit_name", m.limit_name},
                  {"ratio", m.ratio}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

/// The status of a command whose results went to stdout.
int written() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
  return fail({errc::unavailable, "the results could not be written to standard output"});
}

int bench_kernels(const bench_flags& flags) {
  const auto isa = gpu::choose_isa();
  if (!isa) return fail(isa.error());
  gpu::team::prepare_thread();
  gpu::team team(flags.team());
  std::size_t measured = 0;
  if (!flags.as_json) std::printf("%s, %d thread(s)\n\n", std::string(to_string(*isa)).c_str(), team.num_threads());
  gpu::bench::kernel_bench bench(team, *isa, {.only = flags.only, .measured = [&](const auto& m) {
                                                ++measured;
                                                flags.as_json ? print_json(m) : print(m);
                                              }});
  bench.run_all();
  if (measured > 0) return written();
  std::fprintf(stderr, "quadrant bench kernels: no kernel's name holds '%s'\n", flags.only.c_str());
  return 2;
}

int bench_device(const bench_flags& flags) {
  const auto isa = gpu::choose_isa();
  if (!isa) return fail(isa.error());
  gpu::team::prepare_thread();
  gpu::team team(flags.team());
  const auto m = gpu::bench::measure_machine(team, *isa);
  if (flags.as_json) {
    json line{{"name", "device"}, {"processor", m.processor}, {"threads", team.num_threads()}};
    line["isa"] = to_string(*isa);
    line["isa_because"] = m.isa_because;
    for (const auto i : gpu::available_isas()) line["isas"].push_back(to_string(i));
    for (const auto& f : m.figures) line[f.name] = f.value;
    line["huge_pages"] = m.huge_pages;
    std::printf("%s\n", line.dump().c_str());
    return 0;
  }
  std::printf("%s\n%s: %s\n%d thread(s); huge pages: %s\n\n", m.processor.c_str(), std::string(to_string(*isa)).c_str(),
              m.isa_because.c_str(), team.num_threads(), m.huge_pages.c_str());
  for (const auto& f : m.figures) std::printf("%-24s %10.1f %s\n", f.name.c_str(), f.value, f.unit.c_str());
  return 0;
}

struct model_flags : bench_flags {
  engine_flags engine;
  model::bench::model_bench_options options;
};

int bench_model(model_flags& flags) {
  const auto chosen = flags.engine.options();
  if (!chosen) return fail(chosen.error());
  const auto precision = gpu::parse_precision(chosen->layout.precision);
  if (!precision)
    return fail({errc::invalid_argument, "precision must be f32, bf16, w8a8 or w4a8, not " + chosen->layout.precision});
  const auto weights = actors::open_model(chosen->model, *precision);
  if (!weights) return fail(weights.error());
  flags.options.team = flags.team();
  flags.options.measured = [&](const auto& m) { flags.as_json ? print_json(m) : print(m); };
  const auto done = model::bench::bench_model(**weights, flags.options);
  return done ? written() : fail(done.error());
}

struct grammar_flags {
  std::string model;
  bool as_json = false;
};

void print(const model::bench::grammar_costs& c) {
  std::printf("%d tokens: built in %.1f ms, %.1f MB; %zu masks at most, of %.1f KB\n\n", c.tokens, c.build_ms,
              double(c.memory_bytes) / 1e6, c.masks_at_most, double(c.mask_bytes) / 1e3);
}
void print_json(const model::bench::grammar_costs& c) {
  const json line{{"name", "grammar"},          {"tokens", c.tokens},
                  {"build_ms", c.build_ms},     {"memory_bytes", c.memory_bytes},
                  {"mask_bytes", c.mask_bytes}, {"masks_at_most", c.masks_at_most}};
  std::printf("%s\n", line.dump().c_str());
}

/// As JSON, a cut character as U+FFFD.
std::string shown(const std::string& text) { return json(text).dump(-1, ' ', false, json::error_handler_t::replace); }

void print(const model::bench::mask_times& m) {
  std::printf("%-40s %7zu tokens allowed  %8.1f us, kept %6.3f us\n", shown(m.place).c_str(), m.num_allowed,
              m.worked_out_us, m.kept_us);
}
void print_json(const model::bench::mask_times& m) {
  const json line{{"name", "mask"},
                  {"place", m.place},
                  {"allowed", m.num_allowed},
                  {"worked_out_us", m.worked_out_us},
                  {"kept_us", m.kept_us}};
  std::printf("%s\n", line.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
}

int bench_grammar(const grammar_flags& flags) {
  const auto place = flags.model.empty() ? embedded_model() : result<std::filesystem::path>(flags.model);
  if (!place) return fail(place.error());
  const auto tokens = model::tokenizer::open(*place);
  if (!tokens) return fail(tokens.error());
  const auto show = [&](const auto& m) { flags.as_json ? print_json(m) : print(m); };
  const auto done = model::bench::bench_json_grammar(*tokens, show, show);
  return done ? written() : fail(done.error());
}

struct transport_flags {
  engine_flags engine;
  transport::bench::transport_bench_options options;
  bool as_json = false;
};

void print(const transport::bench::measurement& m) {
  std::printf(
      "%-16s %-8s %9llu B  p50 %9.1f us  p99 %9.1f us  %7.3f GB/s (%.2f of raw)  %6.3f CPU-s/GB (%.2f of raw)\n",
      m.name.c_str(), m.path.c_str(), static_cast<unsigned long long>(m.bytes), m.p50_us, m.p99_us, m.gb_s,
      m.ratio_to_raw, m.cpu_s_per_gb, m.cpu_ratio_to_raw);
  std::fflush(stdout);
}

void print_json(const transport::bench::measurement& m) {
  const json line{{"name", m.name},
                  {"path", m.path},
                  {"bytes", m.bytes},
                  {"p50_us", m.p50_us},
                  {"p99_us", m.p99_us},
                  {"gb_s", m.gb_s},
                  {"cpu_s_per_gb", m.cpu_s_per_gb},
                  {"ratio_to_raw", m.ratio_to_raw},
                  {"cpu_ratio_to_raw", m.cpu_ratio_to_raw}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

int bench_transport(transport_flags& flags) {
  std::size_t measured = 0;
  flags.options.measured = [&](const auto& m) {
    ++measured;
    flags.as_json ? print_json(m) : print(m);
  };
  for (const auto run : {transport::bench::bench_transport, actors::bench::bench_actor_ping})
    if (const auto done = run(flags.options); !done) return fail(done.error());
  const auto chosen = flags.engine.options();
  if (!chosen) return fail(chosen.error());
  if (const auto done = actors::bench::bench_kv_handover(
          {.model = chosen->model, .executable = chosen->executable, .how = flags.options});
      !done)
    return fail(done.error());
  if (measured > 0) return written();
  std::fprintf(stderr, "quadrant bench transport: no measurement's name holds '%s'\n", flags.options.only.c_str());
  return 2;
}

} // namespace

command add_bench(CLI::App& program) {
  auto* app = program.add_subcommand("bench", "Measures this machine and what the kernels make of it");
  app->require_subcommand(1);
  const auto flags = std::make_shared<bench_flags>();
  auto* device = app->add_subcommand("device", "Peaks and read rates of this machine, and which instructions are used");
  flags->add_to(*device);
  auto* kernels = app->add_subcommand("kernels", "Each kernel against a limit measured beside it");
  flags->add_to(*kernels);
  kernels->add_option("--only", flags->only, "those whose name holds this");
  auto* whole = app->add_subcommand("model", "Tokens a second of a whole model, against what this machine allows");
  const auto of_model = std::make_shared<model_flags>();
  of_model->add_to(*whole);
  of_model->engine.add_to(*whole);
  whole->remove_option(whole->get_option("--topology")); // one device is measured
  whole->add_option("--prompt", of_model->options.prompt, "tokens of the prefill")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  whole->add_option("--batch", of_model->options.batches, "sequences that decode together: 1,32")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  whole
      ->add_option("--depth", of_model->options.depths,
                   "positions behind them, on to the next block where a round would fill one: 0,2048")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  auto* grammar = app->add_subcommand("grammar", "The masks of answers that must be JSON: time and memory");
  const auto of_grammar = std::make_shared<grammar_flags>();
  grammar->add_option(
      "--model", of_grammar->model,
      "directory of a checkpoint, or its tokenizer.json (default: the model that comes with the program)");
  grammar->add_flag("--json", of_grammar->as_json, "one JSON object a line");
  auto* wire = app->add_subcommand("transport", "Tensor transfers against raw sockets and memcpy");
  const auto of_wire = std::make_shared<transport_flags>();
  wire->add_option("--model", of_wire->engine.model, "of kv_handover (default: the model that comes with the program)");
  wire->add_flag("--json", of_wire->as_json, "one JSON object a line");
  wire->add_option("--only", of_wire->options.only, "those whose name holds this");
  wire->add_option("--rounds", of_wire->options.rounds, "in which the paths take turns")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  using transport::bench::placing;
  wire->add_option(
          "--cores", of_wire->options.cores,
          "of the two processes: apart (a core each, the default), together (one core), free (as the scheduler likes)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, placing>{
          {"apart", placing::apart}, {"together", placing::together}, {"free", placing::free}}));
  return {app, [flags, device, kernels, of_model, grammar, of_grammar, wire, of_wire] {
            if (grammar->parsed()) return bench_grammar(*of_grammar);
            if (wire->parsed()) return bench_transport(*of_wire);
            if (device->parsed()) return bench_device(*flags);
            return kernels->parsed() ? bench_kernels(*flags) : bench_model(*of_model);
          }};
}

} // namespace quadrant::bin
