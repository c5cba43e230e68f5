#include "model/bench/grammar_bench.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "config/clock.hpp"
#include "model/grammar/grammar.hpp"
#include "model/grammar/json_automaton.hpp"
#include "model/grammar/token_masks.hpp"

namespace quadrant::model::bench {
namespace {

constexpr int rounds = 21, calls_a_round = 1000;

/// One of each kind of place, and the wide ones: where most tokens must be tried.
constexpr const char* places[] = {
    "",
    "{",
    "{\n    ",
    "{\"a",
    "{\"a\"",
    "{\"a\": ",
    "{\"a\": \"b",
    "{\"a\": {\"b\": [{\"c\": [\"d",
    "{\"a\": \"\xE6\x97",
    "{\"a\": \"\\",
    "{\"a\": \"\\u",
    "{\"a\": \"\\u00e",
    "{\"a\": 1",
    "{\"a\": 1.5e",
    "{\"a\": t",
    "{\"a\": [",
    "{\"a\": {\"b\": [{\"c\": [true",
    "{}",
};

template <class Call>
double median_us(int calls, const Call& call) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = steady_clock::monotonic_ns();
    for (int i = 0; i < calls; ++i) call();
    times.push_back(double(steady_clock::monotonic_ns() - begin) / 1e3 / calls);
  }
  std::ranges::sort(times);
  return times[rounds / 2];
}

std::size_t num_bits(const std::vector<std::uint64_t>& mask) {
  return std::accumulate(mask.begin(), mask.end(), std::size_t(0),
                         [](std::size_t sum, std::uint64_t word) { return sum + std::size_t(std::popcount(word)); });
}

} // namespace

result<void> bench_json_grammar(const tokenizer& tokens, const std::function<void(const grammar_costs&)>& built,
                                const std::function<void(const mask_times&)>& measured) {
  const std::vector<std::int32_t> last = {tokens.vocab_size() - 1}; // as good an end as any, to measure by
  const auto begin = steady_clock::monotonic_ns();
  QUADRANT_TRY(const auto vocabulary, grammar_vocabulary::build(tokens, tokens.vocab_size(), last));
  QUADRANT_TRY(const auto json, json_object_grammar(vocabulary));
  const auto built_ns = steady_clock::monotonic_ns() - begin;
  built({.tokens = tokens.vocab_size(),
         .build_ms = double(built_ns) / 1e6,
         .memory_bytes = vocabulary->memory_bytes(),
         .mask_bytes = vocabulary->plain().size() * sizeof(std::uint64_t),
         .masks_at_most = 2 * token_masks<json_automaton>::masks_a_generation});

  token_masks<json_automaton> masks(vocabulary);
  for (const std::string place : places) {
    json_automaton state;
    for (const char c : place) state.step(std::uint8_t(c));
    const auto leads = place.empty() ? vocabulary->lead().most : std::uint8_t(0);
    measured({.place = place,
              .num_allowed = num_bits(*masks.of(state, leads)),
              .worked_out_us = median_us(1, [&] { (void)masks.worked_out(state, leads); }),
              .kept_us = median_us(calls_a_round, [&] { (void)masks.of(state, leads); })});
  }
  return {};
}

} // namespace quadrant::model::bench
