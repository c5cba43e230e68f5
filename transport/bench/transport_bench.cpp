#include "transport/bench/transport_bench.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <map>
#include <memory>
#include <system_error>

#include "config/progress.hpp"
#include "transport/bench/figures.hpp"
#include "transport/bench/peer_process.hpp"
#include "transport/bench/raw_fan.hpp"

namespace quadrant::transport::bench {
namespace {

/// One run of one path.
struct run_figures {
  double gb_s = 0, cpu_s_per_gb = 0;
  std::vector<double> alone_us; ///< each transfer that had the path to itself
};

/// The rounds of one path at one size.
struct series {
  std::vector<double> gb_s, cpu, alone_us, ratio, cpu_ratio;
};

/// How much a run of one size moves: long enough to be measured, short enough for many rounds.
struct amount {
  std::uint64_t count, under_way, alone;
};
amount amount_for(std::uint64_t bytes) {
  const auto total = std::clamp<std::uint64_t>(bytes * 20'000, 4 << 20, 256 << 20);
  return {.count = std::max<std::uint64_t>(4, std::min<std::uint64_t>(total / bytes, 20'000)),
          .under_way = std::clamp<std::uint64_t>((4 << 20) / bytes, 4, 64),
          .alone = std::clamp<std::uint64_t>((16 << 20) / bytes, 3, 200)};
}

/// Where the n-th transfer of `bytes` lies in a memory of `size`: one after the other, so that caches do not help.
std::uint64_t place_of(std::uint64_t n, std::uint64_t bytes, std::uint64_t size) { return n % (size / bytes) * bytes; }

class transport_bench {
public:
  explicit transport_bench(const transport_bench_options& options)
      : options_(options), peer_(options.cores), here_only_(options.cores, true), memory_(memory_bytes),
        other_(memory_bytes) {
    std::ranges::fill(memory_, std::byte{1});
    std::ranges::fill(other_, std::byte{2});
    here_ = std::make_unique<taker>(other_, endpoint_options{.listen = false});
    loopback_ = {.wire = &here_->wire(), .to = here_->what()};
    open(tcp_, {.cluster_token = "bench", .rdma = false, .shared_memory = false}, peer_.awake());
    open(rdma_, {.cluster_token = "bench", .shared_memory = false}, peer_.awake());
    open(shm_, {.cluster_token = "bench"}, peer_.awake());
    open(woken_, {.cluster_token = "bench", .busy_poll = std::chrono::microseconds(0)}, peer_.asleep());
    join(loopback_);
    flow_of(rdma_, 1, 1, 1, false);
    has_rdma_ = rdma_.wire->books().over_rdma > 0; // this machine has a device
  }

  void run_all() {
    for (const std::uint64_t bytes : {256, 4 << 10, 64 << 10, 1 << 20, 16 << 20}) stream(bytes);
    ping(256);
    dispatch_combine(8 << 10);
  }

private:
  using path_run = std::function<run_figures(std::uint64_t bytes)>;
  /// An endpoint here, and what it talks to.
  struct route {
    endpoint* wire = nullptr;
    offers to{};
    remote_span source{}; ///< memory_, as the other side sees it
    place back{};         ///< an inbox here
    std::unique_ptr<endpoint> owned{};
  };
  void open(route& r, endpoint_options options, const offers& to) {
    r.owned = std::move(make_endpoint(std::move(options))).value();
    r.wire = r.owned.get();
    r.to = to;
    join(r);
  }
  void join(route& r) {
    r.source = r.wire->register_memory(memory_);
    const auto self = r.wire->self();
    r.back = {self.endpoint, self.port, r.wire->open_inbox([this](std::span<const std::byte>) { answered(); })};
  }
  [[nodiscard]] bool wanted(const char* name) const {
    return std::string(name).find(options_.only) != std::string::npos;
  }

  /// Paths of one size take turns; the first is what the others are measured against.
  void take_turns(const std::vector<std::pair<std::string, std::string>>& names, const std::vector<path_run>& paths,
                  std::uint64_t bytes, bool latency) {
    std::vector<series> all(paths.size());
    for (const auto& path : paths) path(bytes); // connections, pages
    for (int round = 0; round < options_.rounds; ++round) {
      progress::report("measuring " + names.back().first + " of " + std::to_string(bytes) + " bytes",
                       std::uint64_t(round), std::uint64_t(options_.rounds), "rounds");
      run_figures raw;
      for (std::size_t i = 0; i < paths.size(); ++i) {
        const auto f = paths[i](bytes);
        if (i == 0) raw = f;
        auto& s = all[i];
        s.gb_s.push_back(f.gb_s);
        s.cpu.push_back(f.cpu_s_per_gb);
        s.alone_us.insert(s.alone_us.end(), f.alone_us.begin(), f.alone_us.end());
        s.ratio.push_back(latency ? median(f.alone_us) / median(raw.alone_us) : f.gb_s / raw.gb_s);
        s.cpu_ratio.push_back(f.cpu_s_per_gb / raw.cpu_s_per_gb);
      }
    }
    progress::clear();
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const auto& s = all[i];
      options_.measured({.name = names[i].first,
                         .path = names[i].second,
                         .bytes = bytes,
                         .p50_us = part(s.alone_us, 0.5),
                         .p99_us = part(s.alone_us, 0.99),
                         .gb_s = median(s.gb_s),
                         .cpu_s_per_gb = median(s.cpu),
                         .ratio_to_raw = median(s.ratio),
                         .cpu_ratio_to_raw = median(s.cpu_ratio)});
    }
  }

  struct lane {
    std::string name, path;
    path_run run;
  };
  void measure(std::vector<lane> lanes, std::uint64_t bytes, bool latency) {
    std::erase_if(lanes, [this](const lane& l) { return l.path == "rdma" && !has_rdma_; });
    std::vector<std::pair<std::string, std::string>> names;
    std::vector<path_run> paths;
    for (auto& l : lanes) names.emplace_back(l.name, l.path), paths.push_back(std::move(l.run));
    take_turns(names, paths, bytes, latency);
  }

  void stream(std::uint64_t bytes) {
    if (!wanted("stream") && !wanted("stream_checksum")) return;
    const auto over = [this](const route& r, bool checksum) {
      return [this, &r, checksum](std::uint64_t n) { return transfers(r, n, checksum); };
    };
    measure({{"stream", "raw", [this](std::uint64_t n) { return raw_stream(n); }},
             {"stream", "memcpy", [this](std::uint64_t n) { return copies(n); }},
             {"stream", "loopback", over(loopback_, false)},
             {"stream", "tcp", over(tcp_, false)},
             {"stream_checksum", "tcp", over(tcp_, true)},
             {"stream", "shm", over(shm_, false)},
             {"stream_checksum", "shm", over(shm_, true)},
             {"stream", "rdma", over(rdma_, false)}},
            bytes, false);
  }

  void ping(std::uint64_t bytes) {
    if (!wanted("ping")) return;
    const auto over = [this](const route& r) {
      return [this, &r](std::uint64_t n) { return exchanges({.over = &r, .bytes = n, .rounds = pings}); };
    };
    measure({{"ping", "raw", [this](std::uint64_t n) { return raw_ping(n); }},
             {"ping", "tcp", over(tcp_)},
             {"ping", "shm", over(shm_)},
             {"ping", "shm_woken", over(woken_)},
             {"ping", "rdma", over(rdma_)}},
            bytes, true);
  }

  void dispatch_combine(std::uint64_t bytes) {
    if (!wanted("dispatch_combine")) return;
    const auto over = [this](const route& r) {
      return [this, &r](std::uint64_t n) {
        return exchanges({.over = &r, .pairs = pairs, .bytes = n, .has_rows = true, .rounds = row_rounds});
      };
    };
    measure({{"dispatch_combine", "raw", [this](std::uint64_t n) { return raw_rounds(n); }},
             {"dispatch_combine", "tcp", over(tcp_)},
             {"dispatch_combine", "shm", over(shm_)},
             {"dispatch_combine", "rdma", over(rdma_)}},
            bytes, true);
  }

  /// Times fn, which moves `bytes` in all; both processes count.
  template <class Fn>
  void timed(run_figures& f, double bytes, Fn fn) {
    const auto cpu = own_cpu_seconds() + peer_.cpu_seconds();
    const auto start = now_us();
    fn();
    f.gb_s = bytes / (now_us() - start) * 1e-3;
    f.cpu_s_per_gb = (own_cpu_seconds() + peer_.cpu_seconds() - cpu) / (bytes * 1e-9);
  }

  run_figures raw_stream(std::uint64_t bytes) {
    const auto much = amount_for(bytes);
    run_figures f;
    std::byte one{};
    const auto run = [&](std::uint64_t count) {
      const raw_request r{.bytes = bytes, .count = count, .kind = raw_kind::take};
      peer_.raw().send_all(std::as_bytes(std::span(&r, 1)));
      for (std::uint64_t i = 0; i < count; ++i)
        peer_.raw().send_all(std::span(memory_).subspan(place_of(i, bytes, memory_.size()), bytes));
      if (!peer_.raw().receive_all(std::span(&one, 1))) throw std::system_error(ECONNRESET, std::generic_category());
    };
    timed(f, double(bytes * much.count), [&] { run(much.count); });
    for (std::uint64_t i = 0; i < much.alone; ++i) {
      const auto start = now_us();
      run(1);
      f.alone_us.push_back(now_us() - start);
    }
    return f;
  }

  run_figures copies(std::uint64_t bytes) {
    const auto much = amount_for(bytes);
    run_figures f;
    const auto copy = [&](std::uint64_t i) {
      const auto at = place_of(i, bytes, memory_.size());
      std::memcpy(other_.data() + at, memory_.data() + at, bytes);
    };
    timed(f, double(bytes * much.count), [&] {
      for (std::uint64_t i = 0; i < much.count; ++i) copy(i);
    });
    for (std::uint64_t i = 0; i < much.alone; ++i) {
      const auto start = now_us();
      copy(i);
      f.alone_us.push_back(now_us() - start);
    }
    return f;
  }

  /// `count` transfers, some under way at any time; each completion submits the next.
  struct flow {
    const route* over = nullptr;
    std::uint64_t bytes = 0, count = 0;
    bool checksum = false, chained = true;
    std::atomic<std::uint64_t> next{0}, left{0};
    std::promise<result<void>> ended{};
    std::atomic<bool> has_failed{false};
  };
  void submit_next(const std::shared_ptr<flow>& f) {
    const auto i = f->next.fetch_add(1);
    if (i >= f->count) return;
    const auto at = place_of(i, f->bytes, memory_.size());
    transfer what{.slices = {{std::span(memory_).subspan(at, f->bytes), {f->over->to.memory.key, at, f->bytes}}},
                  .message = {},
                  .kind = traffic::kv,
                  .checksum = f->checksum};
    f->over->wire->submit(to_address(f->over->to.sink), std::move(what), [this, f](const result<void>& outcome) {
      if (!outcome && !f->has_failed.exchange(true)) return f->ended.set_value(outcome);
      if (f->has_failed) return;
      if (f->chained) submit_next(f);
      if (f->left.fetch_sub(1) == 1) f->ended.set_value({});
    });
  }
  void flow_of(const route& over, std::uint64_t bytes, std::uint64_t count, std::uint64_t under_way, bool checksum) {
    const auto f = std::make_shared<flow>();
    f->over = &over, f->bytes = bytes, f->count = count, f->checksum = checksum, f->left = count;
    auto ended = f->ended.get_future();
    // In this process a transfer has ended when submit returns, and none submits the next.
    f->chained = &over != &loopback_;
    for (std::uint64_t i = 0; i < (f->chained ? std::min(under_way, count) : count); ++i) submit_next(f);
    if (const auto outcome = ended.get(); !outcome)
      throw std::system_error(ECONNRESET, std::generic_category(), outcome.error().message);
  }
  run_figures transfers(const route& over, std::uint64_t bytes, bool checksum) {
    const auto much = amount_for(bytes);
    run_figures f;
    timed(f, double(bytes * much.count), [&] { flow_of(over, bytes, much.count, much.under_way, checksum); });
    for (std::uint64_t i = 0; i < much.alone; ++i) {
      const auto start = now_us();
      flow_of(over, bytes, 1, 1, checksum);
      f.alone_us.push_back(now_us() - start);
    }
    return f;
  }

  static constexpr int pings = 3000;
  run_figures raw_ping(std::uint64_t bytes) {
    run_figures f;
    std::vector<std::byte> message(bytes);
    timed(f, 2.0 * double(bytes) * pings, [&] {
      const raw_request r{.bytes = bytes, .count = pings, .kind = raw_kind::echo};
      peer_.raw().send_all(std::as_bytes(std::span(&r, 1)));
      for (int i = 0; i < pings; ++i) {
        const auto start = now_us();
        peer_.raw().send_all(message);
        if (!peer_.raw().receive_all(message)) throw std::system_error(ECONNRESET, std::generic_category());
        f.alone_us.push_back(now_us() - start);
      }
    });
    return f;
  }

  // Four callers send a row to each of four expert groups, and get one back from each: 16 pairs.
  static constexpr std::uint64_t pairs = 16;
  static constexpr int row_rounds = 500;
  run_figures raw_rounds(std::uint64_t bytes) {
    run_figures f;
    const raw_request r{.bytes = bytes, .count = pairs, .kind = raw_kind::fan};
    peer_.raw().send_all(std::as_bytes(std::span(&r, 1)));
    raw_fan fan(peer_.raw_port(), pairs);
    timed(f, 2.0 * double(bytes * pairs) * row_rounds, [&] {
      for (int i = 0; i < row_rounds; ++i) {
        const auto start = now_us();
        fan.round(other_, bytes);
        f.alone_us.push_back(now_us() - start);
      }
    });
    return f;
  }

  /// `pairs` messages there and as many back at once, again and again; the next round begins where the last one ends, on
  /// the transport's thread.
  struct exchange {
    const route* over = nullptr;
    std::uint64_t pairs = 1, bytes = 0; ///< bytes: of a message, or of the row that it comes with
    bool has_rows = false;
    std::size_t rounds = 0;
    std::uint64_t left = 0; ///< answers of this round
    double start = 0;
    std::vector<double> us{};
    std::promise<void> ended{};
  };
  run_figures exchanges(exchange wanted) {
    run_figures f;
    timed(f, 2.0 * double(wanted.bytes * wanted.pairs * wanted.rounds), [&] {
      exchange_ = std::move(wanted);
      auto ended = exchange_.ended.get_future();
      send_messages();
      if (ended.wait_for(std::chrono::seconds(60)) != std::future_status::ready)
        throw std::system_error(ETIMEDOUT, std::generic_category(), "the other process does not answer");
    });
    f.alone_us = std::move(exchange_.us);
    return f;
  }
  void send_messages() {
    auto& e = exchange_;
    e.start = now_us();
    e.left = e.pairs;
    for (std::uint64_t i = 0; i < e.pairs; ++i) {
      echo_request r{.back = e.over->back, .from = i * e.bytes, .to = {}};
      transfer what{.slices = {}, .message = std::vector<std::byte>(sizeof r), .kind = traffic::dispatch};
      if (e.has_rows) {
        r.to = {e.over->source.key, i * e.bytes, e.bytes};
        what.slices = {
            {std::span(memory_).subspan(i * e.bytes, e.bytes), {e.over->to.memory.key, i * e.bytes, e.bytes}}};
      } else {
        what.message.resize(std::max<std::size_t>(e.bytes, sizeof r));
      }
      std::memcpy(what.message.data(), &r, sizeof r);
      e.over->wire->submit(to_address(e.over->to.echo), std::move(what), {});
    }
  }
  void answered() {
    auto& e = exchange_;
    if (--e.left > 0) return;
    e.us.push_back(now_us() - e.start);
    e.us.size() < e.rounds ? send_messages() : e.ended.set_value();
  }

  const transport_bench_options& options_;
  peer_process peer_; ///< before this process has a second thread
  placement here_only_;
  std::vector<std::byte> memory_, other_;
  exchange exchange_;
  std::unique_ptr<taker> here_;
  bool has_rdma_ = false;
  route loopback_, tcp_, shm_, woken_, rdma_; ///< the last: they end before what their inboxes use
};

} // namespace

result<void> bench_transport(const transport_bench_options& options) {
  try {
    transport_bench(options).run_all();
    return {};
  } catch (const std::system_error& e) {
    return {errc::unavailable, std::string("the benchmark of the transport cannot run: ") + e.what()};
  }
}

} // namespace quadrant::transport::bench
