#include "config/topology.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include <toml++/toml.h>

#include "config/file.hpp"

namespace quadrant {
namespace {

constexpr setting settings[] = {
    {"prefill", "pp", "stages", 1, 64, &topology::prefill_pp, "pipeline stages, each with a run of layers"},
    {"prefill", "tp", "ranks", 1, 64, &topology::prefill_tp,
     "tensor-parallel ranks of a stage, over heads and columns"},
    {"prefill", "threads", "threads", 0, 1024, &topology::prefill_threads,
     "of a worker's device; 0: the cores shared out"},
    {"prefill", "micro_batches", "steps", 1, 64, &topology::prefill_micro_batches, "in flight in the pipeline"},
    {"prefill", "micro_batch_tokens", "tokens", 1, 16384, &topology::prefill_micro_batch_tokens,
     "budget of one micro-batch"},
    {"prefill", "chunk_tokens", "tokens", 1, 16384, &topology::prefill_chunk_tokens,
     "largest slice of one prompt in it"},
    {"prefill", "kv_blocks", "blocks", 1, 1 << 24, &topology::prefill_kv_blocks,
     "KV memory of a worker; a block is 64 tokens"},
    {"prefill", "prefix_cache", "choice", 0, 1, &topology::prefill_prefix_cache,
     "1: what a prompt has in common with earlier ones is not computed again"},
    {"decode", "tp", "ranks", 1, 64, &topology::decode_tp, "tensor-parallel ranks, over heads and columns"},
    {"decode", "kv_split", "ranks", 1, 64, &topology::decode_kv_split,
     "that share heads, each with a part of a long sequence's KV; divides tp"},
    {"decode", "threads", "threads", 0, 1024, &topology::decode_threads,
     "of a worker's device; 0: the cores shared out"},
    {"decode", "micro_batches", "parts", 1, 16, &topology::decode_micro_batches,
     "of the batch that play ping-pong with the experts"},
    {"decode", "launch_ahead", "steps", 1, 8, &topology::decode_launch_ahead, "enqueued at a time"},
    {"decode", "max_sequences", "sequences", 1, 4096, &topology::decode_max_sequences, "in the continuous batch"},
    {"decode", "kv_blocks", "blocks", 1, 1 << 24, &topology::decode_kv_blocks,
     "KV memory of a worker; a block is 64 tokens"},
    {"decode", "prefix_cache", "choice", 0, 1, &topology::decode_prefix_cache,
     "1: requests share the KV of what their prompts have in common; not with kv_split above 1"},
    {"experts", "prefill_ep", "groups", 0, 256, &topology::experts_prefill_ep,
     "expert groups for prefill; 0: on the attention workers"},
    {"experts", "decode_ep", "groups", 0, 256, &topology::experts_decode_ep,
     "expert groups for decode; 0: on the attention workers"},
    {"experts", "threads", "threads", 0, 1024, &topology::experts_threads,
     "of a group's device; 0: the cores shared out"},
    {"cluster", "shared_memory", "choice", 0, 1, &topology::shared_memory,
     "1: tensors go over shared memory between processes of one machine; 0: over TCP there too"},
    {"cluster", "rdma", "choice", 0, 1, &topology::rdma,
     "1: tensors go over RDMA between processes that both have a device; 0: over TCP there too"},
    {"cluster", "max_queued_requests", "requests", 1, 1 << 20, &topology::max_queued_requests,
     "waiting before new ones are refused"},
    {"cluster", "pin_threads", "cores a thread", 0, 1, &topology::pin_threads,
     "1: device threads have a core each, on a machine that does nothing else; with one process and cores enough"},
};

/// One line, whatever the names in the file hold.
failure wrong(std::string_view source, const toml::source_region& at, std::string what) {
  std::ranges::replace_if(
      what, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
  std::ostringstream line;
  line << source << ':' << at.begin.line << ": " << what;
  return {errc::invalid_argument, line.str()};
}

result<void> read_number(const toml::node& node, const setting& s, std::string_view source, topology& t) {
  const auto value = node.value_exact<std::int64_t>();
  std::ostringstream allowed;
  allowed << s.section << '.' << s.key << " must be a whole number of " << s.unit << " from " << s.low << " to "
          << s.high;
  if (!value) return wrong(source, node.source(), allowed.str());
  if (*value < s.low || *value > s.high)
    return wrong(source, node.source(), allowed.str() + ", not " + std::to_string(*value));
  t.*s.member = *value;
  return {};
}

std::string known_keys(std::string_view section) {
  std::string list;
  for (const auto& s : settings)
    if (s.section == section) list.append(list.empty() ? "" : ", ").append(s.key);
  return list;
}

result<void> read_section(std::string_view name, const toml::node& node, std::string_view source, topology& t) {
  const auto* table = node.as_table();
  if (table == nullptr)
    return wrong(source, node.source(), std::string(name) + " must be a section: write [" + std::string(name) + "]");
  for (const auto& [key, value] : *table) {
    const auto* found =
        std::ranges::find_if(settings, [&](const setting& s) { return s.section == name && s.key == key.str(); });
    if (found == std::end(settings))
      return wrong(source, key.source(),
                   "unknown setting " + std::string(name) + "." + std::string(key.str()) +
                       "; known: " + known_keys(name));
    QUADRANT_TRY_VOID(read_number(value, *found, source, t));
  }
  return {};
}

result<void> read_precision(const toml::node& node, std::string_view source, topology& t) {
  const auto value = node.value_exact<std::string>();
  if (!value || (*value != "f32" && *value != "bf16" && *value != "w8a8" && *value != "w4a8"))
    return wrong(source, node.source(),
                 "precision must be \"f32\", \"bf16\", \"w8a8\" or \"w4a8\"" + (value ? ", not " + *value : ""));
  t.precision = *value;
  return {};
}

constexpr auto process_form = "write [[process]] with a name = \"text\" and runs = [\"worker\", …]";

/// A process and the line where it begins.
struct placed_process {
  process_spec spec;
  toml::source_region at;
};

/// Process names are names of files and words of command lines too.
bool is_process_name(std::string_view name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return name.size() <= 100 && letters.find(name.front()) != std::string_view::npos &&
         name.find_first_not_of(std::string(letters) + "._-") == std::string_view::npos && name != "main" &&
         name != "serve";
}

result<placed_process> read_process(const toml::node& node, std::string_view source) {
  const auto* table = node.as_table();
  if (table == nullptr) return wrong(source, node.source(), std::string("a process must be a table: ") + process_form);
  placed_process process{.spec = {}, .at = node.source()};
  for (const auto& [key, value] : *table) {
    if (key == "name" && value.is_string()) {
      process.spec.name = value.value_or(std::string{});
    } else if (key == "runs" && value.is_array()) {
      for (const auto& worker : *value.as_array()) {
        if (!worker.is_string())
          return wrong(source, worker.source(), std::string("runs must be a list of worker names: ") + process_form);
        process.spec.runs.push_back(worker.value_or(std::string{}));
      }
    } else {
      return wrong(source, value.source(), "process." + std::string(key.str()) + " is not understood: " + process_form);
    }
  }
  if (process.spec.name.empty())
    return wrong(source, node.source(), std::string("a process needs a name: ") + process_form);
  if (!is_process_name(process.spec.name))
    return wrong(
        source, node.source(),
        "a process cannot be called " + process.spec.name +
            ": at most 100 letters, digits, dots, dashes and underscores, the first a letter or digit; main and "
            "serve are taken");
  return process;
}

result<std::vector<placed_process>> read_processes(const toml::node& node, std::string_view source) {
  const auto* list = node.as_array();
  if (list == nullptr) return wrong(source, node.source(), std::string("process must be a list: ") + process_form);
  std::vector<placed_process> processes;
  for (const auto& entry : *list) {
    QUADRANT_TRY(auto process, read_process(entry, source));
    processes.push_back(std::move(process));
  }
  return processes;
}

/// As many names as fit a line.
std::string first_of(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) {
    if (list.size() > 200) return list + ", …";
    list.append(list.empty() ? "" : ", ").append(name);
  }
  return list;
}

/// Every worker must run in exactly one process, and every name must be a worker.
result<void> check_placement(const std::vector<std::string>& workers, const std::vector<placed_process>& processes,
                             std::string_view source) {
  if (processes.empty()) return {};
  const std::set<std::string> names(workers.begin(), workers.end());
  std::map<std::string, std::string> home;
  std::set<std::string> seen;
  for (const auto& [process, at] : processes) {
    if (!seen.insert(process.name).second) return wrong(source, at, "a second process is named " + process.name);
    for (const auto& worker : process.runs) {
      if (!names.contains(worker))
        return wrong(source, at,
                     "process " + process.name + " runs " + worker + ", which this topology does not have; it has " +
                         first_of(workers));
      if (const auto [other, first] = home.emplace(worker, process.name); !first)
        return wrong(source, at,
                     worker + " runs in " + process.name + " and in " + other->second +
                         ": a worker runs in one process");
    }
  }
  for (const auto& worker : workers)
    if (!home.contains(worker))
      return wrong(source, processes.back().at, "no process runs " + worker + ": add it to the runs of one");
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
  } catch (const toml::parse_error& e) {
    return wrong(source, e.source(), std::string(e.description()));
  }
  std::vector<placed_process> processes;
  for (const auto& [key, node] : root) {
    if (key == "precision") {
      QUADRANT_TRY_VOID(read_precision(node, source, t));
    } else if (key == "process") {
      QUADRANT_TRY(processes, read_processes(node, source));
    } else if (!known_keys(key.str()).empty()) {
      QUADRANT_TRY_VOID(read_section(key.str(), node, source, t));
    } else {
      return wrong(source, key.source(),
                   "unknown setting " + std::string(key.str()) +
                       "; known: precision, [prefill], [decode], [experts], [cluster], [[process]]");
    }
  }
  QUADRANT_TRY_VOID(check_placement(t.worker_names(), processes, source));
  for (auto& process : processes) t.processes.push_back(std::move(process.spec));
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
    out << "[[process]]\nname = \"" << process.name << "\"\nruns = [";
    for (const auto& worker : process.runs) out << '"' << worker << "\", ";
    out << "]\n";
  }
  return out.str();
}

result<topology> read_topology(const std::filesystem::path& file) {
  const auto text = read_file(file);
  if (!text) return {errc::not_found, "cannot read topology file " + file.string()};
  return parse_topology(*text, file.string());
}

} // namespace quadrant
