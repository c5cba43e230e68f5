#include "actors/bench/kv_handover.hpp"

#include <algorithm>
#include <future>
#include <memory>
#include <system_error>
#include <vector>

#include "actors/cluster_plan.hpp"
#include "actors/engine.hpp"
#include "actors/model_source.hpp"
#include "config/progress.hpp"
#include "gpu/team.hpp"
#include "transport/bench/figures.hpp"
#include "transport/bench/raw_socket.hpp"

namespace quadrant::actors::bench {
namespace {

namespace wire = transport::bench;

constexpr std::int32_t chunk = 256, last_chunk = 108, prompt = 7 * chunk + last_chunk, requests = 5; ///< a round

/// GB/s of one socket, blocking send and recv, over loopback.
double raw_gb_s() {
  constexpr std::size_t bytes = 1 << 20, count = 128;
  const wire::forked other([](const wire::raw_socket& control) {
    std::vector<std::byte> memory(bytes);
    const auto listener = wire::raw_socket::listen_on_loopback();
    const auto port = listener.port();
    control.send_all(std::as_bytes(std::span(&port, 1)));
    const auto s = listener.accept();
    for (std::size_t i = 0; i < count; ++i)
      if (!s.receive_all(memory)) return;
    s.send_all(std::span(memory).first(1));
    (void)s.receive_all(memory); // until the other side has seen it
  });
  const auto s = wire::raw_socket::connect_to_loopback(other.greeting<std::uint16_t>());
  const std::vector<std::byte> memory(bytes);
  std::byte one{};
  const auto start = wire::now_us();
  for (std::size_t i = 0; i < count; ++i) s.send_all(memory);
  if (!s.receive_all(std::span(&one, 1))) throw std::system_error(ECONNRESET, std::generic_category());
  return double(bytes * count) / (wire::now_us() - start) * 1e-3;
}

class waiting_sink final : public token_sink {
public:
  void token(const made_token&) override {}
  void finished(std::int32_t, finish) override { ended_.set_value({}); }
  void failed(const failure& why) override { ended_.set_value(why); }

  result<void> wait() {
    auto ended = ended_.get_future();
    if (ended.wait_for(std::chrono::seconds(60)) != std::future_status::ready)
      return {errc::deadline, "an answer did not end"};
    return ended.get();
  }

private:
  std::promise<result<void>> ended_;
};

/// Of the last request, as its decode worker reports it: from the end of its prefill to the start of its first decode step.
double last_hand_over_us(engine& cluster) {
  for (const auto& [name, value] : cluster.status().gauges)
    if (name.starts_with("last_hand_over_seconds")) return value * 1e6;
  return 0;
}

/// One cluster, and what its requests saw.
struct path {
  std::string name;
  std::unique_ptr<engine> cluster;
  std::vector<double> us;
};

result<path> start(const kv_handover_options& options, const char* name, bool two_processes, bool shared_memory) {
  engine_options o{.model = options.model, .executable = options.executable};
  o.layout.prefill_chunk_tokens = o.layout.prefill_micro_batch_tokens = chunk;
  o.layout.shared_memory = shared_memory ? 1 : 0;
  // Half of the cores for each worker, wherever it lives: two processes do not know of each other's threads.
  o.layout.prefill_threads = o.layout.decode_threads =
      std::max<std::int64_t>(1, std::int64_t(gpu::usable_cores().size()) / 2);
  if (two_processes) o.layout.processes = {{"prefill", {"prefill.0.0"}}, {"decode", {"decode.0"}}};
  path p{.name = name, .cluster = {}, .us = {}};
  QUADRANT_TRY(p.cluster, engine::start(std::move(o)));
  return p;
}

/// Bytes of KV that the last chunk completes, its open block with it.
result<std::uint64_t> last_chunk_bytes(const kv_handover_options& options) {
  QUADRANT_TRY(const auto weights, open_model(options.model, gpu::precision::w4a8));
  QUADRANT_TRY(const auto plan, cluster_plan::make({}, weights->config(), weights->numerics()));
  const auto spec = plan.shard_of({role::decode, 0, 0});
  const auto kv = model::kv_layout_of(plan.config(), spec, *model::shape_of(plan.config(), spec), plan.numerics(), 1);
  const auto blocks = (prompt + gpu::block_tokens - 1) / gpu::block_tokens - (prompt - last_chunk) / gpu::block_tokens;
  return std::uint64_t(blocks) * kv.pool_bytes();
}

} // namespace

result<void> bench_kv_handover(const kv_handover_options& options) {
  if (std::string("kv_handover").find(options.how.only) == std::string::npos) return {};
  double raw = 0;
  try {
    std::vector<double> rates;
    for (int i = 0; i < 5; ++i) rates.push_back(raw_gb_s());
    raw = wire::median(rates);
  } catch (const std::system_error& e) {
    return {errc::unavailable, std::string("the benchmark of hand-overs cannot run: ") + e.what()};
  }
  QUADRANT_TRY(const auto bytes, last_chunk_bytes(options));
  std::vector<path> paths;
  for (const auto& [name, two, near] :
       {std::tuple("loopback", false, true), {"shm", true, true}, {"tcp", true, false}}) {
    QUADRANT_TRY(auto p, start(options, name, two, near));
    paths.push_back(std::move(p));
  }
  std::int32_t seed = 0;
  for (int round = -1; round < options.how.rounds; ++round) { // the first is for connections and pages
    progress::report("measuring kv_handover", std::uint64_t(std::max(0, round)), std::uint64_t(options.how.rounds),
                     "rounds");
    for (auto& p : paths)
      for (std::int32_t i = 0; i < requests; ++i) {
        generation what{.max_new_tokens = 4};
        for (std::int32_t t = 0; t < prompt; ++t)
          what.tokens.push_back((t * 31 + ++seed) % (p.cluster->config().vocab_size / 2));
        const auto sink = std::make_shared<waiting_sink>();
        p.cluster->submit(std::move(what), sink);
        QUADRANT_TRY_VOID(sink->wait());
        if (round >= 0) p.us.push_back(last_hand_over_us(*p.cluster));
      }
  }
  progress::clear();
  const auto expected = wire::median(paths[0].us) + double(bytes) / raw * 1e-3;
  for (const auto& p : paths)
    options.how.measured({.name = "kv_handover",
                          .path = p.name,
                          .bytes = bytes,
                          .p50_us = wire::median(p.us),
                          .p99_us = wire::part(p.us, 0.99),
                          .gb_s = raw,
                          .ratio_to_raw = wire::median(p.us) / expected});
  return {};
}

} // namespace quadrant::actors::bench
