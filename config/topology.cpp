#include "config/topology.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <toml++/toml.h>

namespace quadrant {
namespace {

constexpr setting settings[] = {
    {"prefill", "pp", "stages", 1, 64, &topology::prefill_pp, "pipeline stages, each with a run of layers"},
    {"prefill", "tp", "ranks", 1, 64, &topology::prefill_tp, "tensor-parallel ranks of a stage, over heads and columns"},
    {"prefill", "threads", "threads", 0, 1024, &topology::prefill_threads, "of a worker's device; 0: the cores shared out"},
    {"prefill", "micro_batches", "steps", 1, 64, &topology::prefill_micro_batches, "in flight in the pipeline"},
    {"prefill", "micro_batch_tokens", "tokens", 1, 16384, &topology::prefill_micro_batch_tokens, "budget of one micro-batch"},
    {"prefill", "chunk_tokens", "tokens", 1, 16384, &topology::prefill_chunk_tokens, "largest slice of one prompt in it"},
    {"prefill", "kv_blocks", "blocks", 1, 1 << 24, &topology::prefill_kv_blocks, "KV memory of a worker; a block is 64 tokens"},
    {"decode", "tp", "ranks", 1, 64, &topology::decode_tp, "tensor-parallel ranks, over heads and columns"},
    {"decode", "threads", "threads", 0, 1024, &topology::decode_threads, "of a worker's device; 0: the cores shared out"},
    {"decode", "micro_batches", "parts", 1, 16, &topology::decode_micro_batches, "of the batch that play ping-pong with the experts"},
    {"decode", "launch_ahead", "steps", 1, 8, &topology::decode_launch_ahead, "enqueued at a time"},
    {"decode", "max_sequences", "sequences", 1, 4096, &topology::decode_max_sequences, "in the continuous batch"},
    {"decode", "kv_blocks", "blocks", 1, 1 << 24, &topology::decode_kv_blocks, "KV memory of a worker; a block is 64 tokens"},
    {"experts", "prefill_ep", "groups", 0, 256, &topology::experts_prefill_ep, "expert groups for prefill; 0: on the attention workers"},
    {"experts", "decode_ep", "groups", 0, 256, &topology::experts_decode_ep, "expert groups for decode; 0: on the attention workers"},
    {"experts", "threads", "threads", 0, 1024, &topology::experts_threads, "of a group's device; 0: the cores shared out"},
    {"cluster", "max_queued_requests", "requests", 1, 1 << 20, &topology::max_queued_requests, "waiting before new ones are refused"},
    {"cluster", "heartbeat_ms", "ms", 50, 60000, &topology::heartbeat_ms, "between signs of life of a process"},
};

failure wrong(std::string_view source, const toml::source_region& at, std::string what) {
  std::ostringstream line;
  line << source << ':' << at.begin.line << ": " << what;
  return {errc::invalid_argument, line.str()};
}

result<void> read_number(const toml::node& node, const setting& s, std::string_view source, topology& t) {
  const auto value = node.value_exact<std::int64_t>();
  std::ostringstream allowed;
  allowed << s.section << '.' << s.key << " must be a whole number of " << s.unit << " from " << s.low << " to " << s.high;
  if (!value) return wrong(source, node.source(), allowed.str());
  if (*value < s.low || *value > s.high)
    return wrong(source, node.source(), allowed.str() + ", not " + std::to_string(*value));
  t.*s.member = *value;
  return {};
}

result<void> read_section(std::string_view name, const toml::table& table, std::string_view source, topology& t) {
  for (const auto& [key, node] : table) {
    const auto* found = std::ranges::find_if(settings, [&](const setting& s) { return s.section == name && s.key == key.str(); });
    if (found == std::end(settings))
      return wrong(source, node.source(), "unknown setting " + std::string(name) + "." + std::string(key.str()));
    QUADRANT_TRY_VOID(read_number(node, *found, source, t));
  }
  return {};
}

result<process_spec> read_process(const toml::node& node, std::string_view source) {
  const auto* table = node.as_table();
  if (table == nullptr) return wrong(source, node.source(), "process must be a list of tables: write [[process]]");
  process_spec process;
  for (const auto& [key, value] : *table) {
    if (key == "name" && value.is_string()) {
      process.name = value.value_or(std::string{});
    } else if (key == "runs" && value.is_array()) {
      for (const auto& worker : *value.as_array()) {
        if (!worker.is_string()) return wrong(source, worker.source(), "process.runs must be a list of worker names");
        process.runs.push_back(worker.value_or(std::string{}));
      }
    } else {
      return wrong(source, value.source(), "a process has a name (text) and runs (list of workers), not " + std::string(key.str()));
    }
  }
  if (process.name.empty()) return wrong(source, node.source(), "a process needs a name");
  return process;
}

/// Every worker must run in exactly one process, and every name must be a worker.
result<void> check_placement(const topology& t, std::string_view source) {
  if (t.processes.empty()) return {};
  const auto names = t.worker_names();
  std::map<std::string, std::string> home;
  std::set<std::string> processes;
  const auto say = [&](const std::string& what) { return failure{errc::invalid_argument, std::string(source) + ": " + what}; };
  for (const auto& process : t.processes) {
    if (!processes.insert(process.name).second) return say("two processes are named " + process.name);
    for (const auto& worker : process.runs) {
      if (std::ranges::find(names, worker) == names.end())
        return say("process " + process.name + " runs " + worker + ", which this topology does not have");
      if (!home.emplace(worker, process.name).second)
        return say(worker + " runs in both " + home[worker] + " and " + process.name);
    }
  }
  for (const auto& worker : names)
    if (!home.contains(worker)) return say("no process runs " + worker);
  return {};
}

} // namespace

std::span<const setting> topology_settings() { return settings; }

std::vector<std::string> topology::worker_names() const {
  std::vector<std::string> names;
  for (std::int64_t pp = 0; pp < prefill_pp; ++pp)
    for (std::int64_t tp = 0; tp < prefill_tp; ++tp)
      names.push_back("prefill." + std::to_string(pp) + "." + std::to_string(tp));
  for (std::int64_t tp = 0; tp < decode_tp; ++tp) names.push_back("decode." + std::to_string(tp));
  for (std::int64_t ep = 0; ep < experts_prefill_ep; ++ep) names.push_back("experts.prefill." + std::to_string(ep));
  for (std::int64_t ep = 0; ep < experts_decode_ep; ++ep) names.push_back("experts.decode." + std::to_string(ep));
  return names;
}

result<topology> parse_topology(std::string_view text, std::string_view source) {
  topology t;
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& e) { return wrong(source, e.source(), std::string(e.description())); }
  for (const auto& [key, node] : root) {
    if (key == "precision" && node.is_string()) {
      t.precision = node.value_or(std::string{});
      if (t.precision != "f32" && t.precision != "bf16" && t.precision != "w8a8" && t.precision != "w4a8")
        return wrong(source, node.source(), "precision must be f32, bf16, w8a8 or w4a8, not " + t.precision);
    } else if (key == "process" && node.is_array()) {
      for (const auto& entry : *node.as_array()) {
        QUADRANT_TRY(auto process, read_process(entry, source));
        t.processes.push_back(std::move(process));
      }
    } else if (node.is_table() && std::ranges::any_of(settings, [&](const setting& s) { return s.section == key.str(); })) {
      QUADRANT_TRY_VOID(read_section(key.str(), *node.as_table(), source, t));
    } else {
      return wrong(source, node.source(),
                   "unknown setting " + std::string(key.str()) + "; known: precision, [prefill], [decode], [experts], [cluster], [[process]]");
    }
  }
  QUADRANT_TRY_VOID(check_placement(t, source));
  return t;
}

std::string to_toml(const topology& t) {
  std::ostringstream out;
  out << "precision = \"" << t.precision << "\"\n";
  std::string_view section;
  for (const auto& s : settings) {
    if (s.section != section) out << '[' << (section = s.section) << "]\n";
    out << s.key << " = " << t.*s.member << '\n';
  }
  for (const auto& process : t.processes) {
    out << "[[process]]\nname = " << toml::value<std::string>(process.name) << "\nruns = [";
    for (const auto& worker : process.runs) out << toml::value<std::string>(worker) << ", ";
    out << "]\n";
  }
  return out.str();
}

result<topology> read_topology(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return {errc::not_found, "cannot read topology file " + file.string()};
  std::ostringstream text;
  text << in.rdbuf();
  return parse_topology(text.str(), file.string());
}

} // namespace quadrant
