// actors/wire.hpp: between the schemas and the types of the other folders. Names mirror each other; nothing is decided
// here.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include <capnp/message.h>

#include "actors/interfaces.hpp"
#include "actors/slot_fabric.hpp"
#include "config/result.hpp"
#include "gpu/device.hpp"
#include "gpu/ops.hpp"
#include "model/frame.hpp"
#include "scheduler/block_pool.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::actors {

inline transport::address read(wire::Address::Reader a) {
  return {a.getEndpoint(), a.getHost().cStr(), a.getPort(), a.getInbox()};
}
inline void write(wire::Address::Builder to, const transport::address& a) {
  to.setEndpoint(a.endpoint);
  to.setHost(a.host);
  to.setPort(a.port);
  to.setInbox(a.inbox);
}

inline transport::remote_span read(wire::TensorRef::Reader t) { return {t.getKey(), t.getOffset(), t.getBytes()}; }
inline void write(wire::TensorRef::Builder to, const transport::remote_span& span) {
  to.setKey(span.key);
  to.setOffset(span.offset);
  to.setBytes(span.bytes);
}

inline gpu::sampling read(wire::Sampling::Reader s) {
  return {.temperature = s.getTemperature(),
          .top_p = s.getTopP(),
          .min_p = s.getMinP(),
          .top_k = s.getTopK(),
          .seed = s.getSeed(),
          .sample_index = s.getSampleIndex(),
          .presence = s.getPresence(),
          .frequency = s.getFrequency(),
          .repetition = s.getRepetition()};
}
/// Of one sample of a request.
inline gpu::sampling read(wire::Sampling::Reader s, std::int32_t sample) {
  auto one = read(s);
  one.sample_index += std::uint32_t(sample);
  return one;
}
inline void write(wire::Sampling::Builder to, const gpu::sampling& s) {
  to.setTemperature(s.temperature);
  to.setTopP(s.top_p);
  to.setMinP(s.min_p);
  to.setTopK(s.top_k);
  to.setSeed(s.seed);
  to.setSampleIndex(s.sample_index);
  to.setPresence(s.presence);
  to.setFrequency(s.frequency);
  to.setRepetition(s.repetition);
}

/// Code 0 is success; otherwise errc + 1.
inline void write(wire::Problem::Builder to, const failure& f) {
  to.setCode(std::uint32_t(f.code) + 1);
  to.setMessage(f.message);
}
inline result<void> read(wire::Problem::Reader p) {
  if (p.getCode() == 0) return {};
  return {errc(p.getCode() - 1), p.getMessage().cStr()};
}

/// A failure as CAF carries it between actors, and back.
inline caf::error to_error(const failure& f) {
  return caf::make_error(caf::sec::runtime_error, std::uint32_t(f.code), f.message);
}
inline failure to_failure(const caf::error& e) {
  if (e.context().match_elements<std::uint32_t, std::string>())
    return {errc(e.context().get_as<std::uint32_t>(0)), e.context().get_as<std::string>(1)};
  return {errc::unavailable, caf::to_string(e)};
}

template <class List>
std::vector<std::int32_t> read_ints(const List& list) {
  std::vector<std::int32_t> values;
  values.reserve(list.size());
  for (const auto value : list) values.push_back(value);
  return values;
}
template <class Init, class Values>
void write_ints(Init&& init, const Values& values) {
  auto list = init(unsigned(values.size()));
  for (unsigned i = 0; i < values.size(); ++i) list.set(i, values[i]);
}

inline std::shared_ptr<const model::sampling_rules> read(wire::SamplingRules::Reader r) {
  const auto rules = std::make_shared<model::sampling_rules>();
  rules->counts_tokens = r.getCountsTokens();
  rules->prompt = read_ints(r.getPrompt());
  for (const auto b : r.getBias()) rules->bias.push_back({b.getId(), b.getBias()});
  rules->banned = read_ints(r.getBanned());
  rules->banned_until = r.getBannedUntil();
  rules->json_object = r.getJsonObject();
  rules->top_logprobs = r.getTopLogprobs();
  return rules;
}
inline void write(wire::SamplingRules::Builder to, const model::sampling_rules& r) {
  to.setCountsTokens(r.counts_tokens);
  write_ints([&](unsigned n) { return to.initPrompt(n); }, r.prompt);
  auto bias = to.initBias(unsigned(r.bias.size()));
  for (unsigned i = 0; i < bias.size(); ++i) bias[i].setId(r.bias[i].id), bias[i].setBias(r.bias[i].bias);
  write_ints([&](unsigned n) { return to.initBanned(n); }, r.banned);
  to.setBannedUntil(r.banned_until);
  to.setJsonObject(r.json_object);
  to.setTopLogprobs(r.top_logprobs);
}

/// An output of a step.
inline void write(wire::Made::Builder to, const model::frame& f, std::int32_t output) {
  to.setToken(f.sampled[output]);
  to.setDigest(f.digests[output]);
  if (f.sampled[output] < 0 || f.output_rules == nullptr || f.output_rules[output].top_logprobs < 0) return;
  auto list = to.initLogprobs(unsigned(1 + f.output_rules[output].top_logprobs));
  const auto* from = f.logprobs + std::ptrdiff_t(output) * (1 + gpu::max_top_logprobs);
  for (unsigned i = 0; i < list.size(); ++i) list[i].setId(from[i].id), list[i].setLogprob(from[i].logprob);
}

/// The bytes of a message, for transfers.
template <class Schema>
std::vector<std::byte> to_bytes(const envelope<Schema>& message) {
  const auto words = message.frame().array().asBytes();
  const auto* first = reinterpret_cast<const std::byte*>(words.begin());
  return {first, first + words.size()};
}
/// Errors  errc::corrupt
template <class Schema>
result<envelope<Schema>> from_bytes(std::span<const std::byte> bytes) {
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0 || bytes.size() > max_envelope_bytes)
    return {errc::corrupt, "a message of broken size"};
  auto block = std::make_shared_for_overwrite<capnp::word[]>(bytes.size() / sizeof(capnp::word));
  std::memcpy(static_cast<void*>(block.get()), bytes.data(), bytes.size());
  envelope<Schema> message({std::move(block), std::uint32_t(bytes.size() / sizeof(capnp::word))});
  try {
    (void)message.view()->totalSize(); // walks every pointer within the block
  } catch (const kj::Exception& e) {
    return {errc::corrupt, e.getDescription().cStr()};
  }
  return message;
}

/// The workers of a view as their peers see them.
inline std::vector<peer> read_peers(wire::View::Reader view) {
  std::vector<peer> peers;
  for (const auto w : view.getWorkers()) peers.push_back({read(w.getAddress()), read(w.getLanding())});
  return peers;
}

struct gauge {
  const char* name;
  double value;
};
inline void write_gauges(wire::StatusReport::Builder& report, std::initializer_list<gauge> gauges) {
  auto list = report.initGauges(unsigned(gauges.size()));
  unsigned i = 0;
  for (const auto& g : gauges) {
    list[i].setName(g.name);
    list[i++].setValue(g.value);
  }
}

inline void write_books(wire::Books::Builder to, const scheduler::block_books& books, std::int64_t credits_out) {
  to.setBlocksTotal(books.total);
  to.setBlocksFree(books.free);
  to.setBlocksUsed(books.used);
  to.setBlocksCached(books.cached);
  to.setLeases(books.leases);
  to.setCreditsOut(credits_out);
}

inline double busy_seconds(gpu::device_times times) { return double(times.busy_ns) * 1e-9; }

/// What a worker without books of its own reports.
inline msg::status_report worker_report(gpu::device_times times) {
  return msg::status_report::make([&](wire::StatusReport::Builder& b) {
    write_gauges(b, {{"device_busy_seconds", busy_seconds(times)}});
  });
}

/// A handle of a known role; the view says which role a handle has.
template <class Handle>
Handle as(const handle& h) {
  return caf::actor_cast<Handle>(h);
}

} // namespace quadrant::actors
