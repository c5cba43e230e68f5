#include "actors/bin/session.hpp"

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <thread>

#include <unistd.h>

#include "config/progress.hpp"
#include "config/random.hpp"

namespace quadrant::bin {
namespace {

constexpr auto exit_patience = std::chrono::seconds(20);

std::atomic<int> signals{0};

template <class Number>
bool read_number(std::string_view text, Number& value) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc{} && end == text.data() + text.size();
}

/// From the first call on the process has so long to end.
void leave_soon() {
  static std::atomic<bool> called{false};
  if (called.exchange(true)) return;
  std::thread([] {
    std::this_thread::sleep_for(exit_patience);
    std::fprintf(stderr, "quadrant: did not end in time; leaving at once\n");
    _exit(1);
  }).detach();
}

} // namespace

void engine_flags::add_to(CLI::App& command) {
  command.add_option("--model", model,
                     "Hugging Face checkpoint directory (default: the model that comes with the program)");
  command.add_option("--topology", topology,
                     "TOML file: which workers there are, in which processes (default: one of each, here)");
  command.add_option("--precision", precision, "f32, bf16, w8a8 or w4a8 (default: the topology's, w4a8)");
}

result<actors::engine_options> engine_flags::options() const {
  actors::engine_options options;
  if (model.empty()) {
    QUADRANT_TRY(options.model, embedded_model());
  } else {
    options.model = model;
  }
  if (!topology.empty()) {
    QUADRANT_TRY(options.layout, read_topology(topology));
  }
  if (!precision.empty()) options.layout.precision = precision;
  options.stop = asked_to_leave;
  return options;
}

void sampling_flags::add_to(CLI::App& command) {
  command.add_option("--temperature", temperature, "0: greedy (default: as the model wishes)")
      ->check(CLI::Range(0.0f, 100.0f));
  command.add_option("--top-p", top_p, "keep the likeliest tokens of this mass")->check(CLI::Range(0.0f, 1.0f));
  command.add_option("--top-k", top_k, "keep this many; 0: all")->check(CLI::Range(0, 1 << 24));
  command.add_option("--min-p", min_p, "keep tokens at least so likely, beside the likeliest")
      ->check(CLI::Range(0.0f, 1.0f));
  command.add_option("--presence-penalty", presence, "for tokens that the answer holds already")
      ->check(CLI::Range(-2.0f, 2.0f));
  command.add_option("--frequency-penalty", frequency, "for each time that the answer holds them")
      ->check(CLI::Range(-2.0f, 2.0f));
  command.add_option("--repetition-penalty", repetition, "for tokens of prompt and answer; 1: none")
      ->check(CLI::Range(0.01f, 100.0f));
  command.add_option("--seed", seed, "of the randomness (default: drawn)");
}

gpu::sampling sampling_flags::over(gpu::sampling habits) const {
  habits.temperature = temperature.value_or(habits.temperature);
  habits.top_p = top_p.value_or(habits.top_p);
  habits.top_k = top_k.value_or(habits.top_k);
  habits.min_p = min_p.value_or(habits.min_p);
  habits.presence = presence.value_or(habits.presence);
  habits.frequency = frequency.value_or(habits.frequency);
  habits.repetition = repetition.value_or(habits.repetition);
  habits.seed = seed ? *seed : random_u64();
  return habits;
}

result<std::vector<std::int32_t>> parse_tokens(const std::string& text) {
  std::vector<std::int32_t> tokens;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    std::int32_t token = 0;
    if (!read_number(std::string_view(text).substr(at, end - at), token))
      return {errc::invalid_argument,
              "--tokens must be whole numbers with commas between, like 1,2,3, not '" + text + "'"};
    tokens.push_back(token);
    at = end + 1;
  }
  return tokens;
}

result<host_and_port> parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  host_and_port address;
  if (colon == std::string::npos || colon == 0 ||
      !read_number(std::string_view(text).substr(colon + 1), address.port) || address.port == 0)
    return {errc::invalid_argument, "expected HOST:PORT, like 127.0.0.1:8079, not '" + text + "'"};
  address.host = text.substr(0, colon);
  return address;
}

result<std::filesystem::path> embedded_model() {
  std::error_code ignored;
  const auto home = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto* place :
       {"../../model/default", "../share/quadrant/model/default"}) { // build/<preset>/quadrant, <prefix>/bin/quadrant
    const auto directory = home / place;
    if (std::filesystem::exists(directory / "config.json", ignored))
      return std::filesystem::weakly_canonical(directory, ignored);
  }
  return {errc::not_found, "the model that comes with the program is not beside it; name one with --model DIR"};
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) {
    if (signals.fetch_add(1) > 0) _exit(130);
  };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool asked_to_stop() { return signals.load() > 0; }

bool asked_to_leave() {
  if (!asked_to_stop()) return false;
  leave_soon();
  return true;
}

bounded_exit::~bounded_exit() { leave_soon(); }

int fail(const failure& why) {
  std::fflush(stdout);
  progress::clear();
  std::fprintf(stderr, "quadrant: %s\n", why.message.c_str());
  return why.code == errc::invalid_argument ? 2 : 1;
}

} // namespace quadrant::bin
