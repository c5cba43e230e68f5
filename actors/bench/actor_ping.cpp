#include "actors/bench/actor_ping.hpp"

#include <cstring>
#include <future>
#include <system_error>

#include "actors/system.hpp"
#include "transport/bench/figures.hpp"
#include "transport/bench/peer_process.hpp"

namespace quadrant::actors::bench {
namespace {

namespace wire = transport::bench;
using transport::address;

constexpr std::size_t bytes = 256;
constexpr int pings = 2000;
constexpr const char* loopback = "127.0.0.1";

struct greeting {
  std::uint16_t caf_port = 0;
  wire::place echo{}; ///< a message begins with the place that it comes back to
};

std::string text_of(std::span<const std::byte> message) {
  return {reinterpret_cast<const char*>(message.data()), message.size()};
}

transport::transfer transfer_of(const std::string& text) {
  const auto from = std::as_bytes(std::span(text));
  return {.slices = {}, .message = {from.begin(), from.end()}};
}

/// The other process: an actor that CAF publishes, and one behind an inbox of an endpoint. Both send back what they get.
void live(const wire::raw_socket& control) {
  system_config config;
  caf::actor_system system(config);
  const auto endpoint = std::move(transport::make_endpoint({.cluster_token = "bench"})).value();
  const auto by_caf = system.spawn([] { return caf::behavior{[](std::string text) { return text; }}; });
  const auto by_wire = system.spawn([&] {
    return caf::behavior{[&](const std::string& text) {
      wire::place back;
      std::memcpy(&back, text.data(), sizeof back);
      endpoint->submit(wire::to_address(back), transfer_of(text), {});
    }};
  });
  const auto port = system.middleman().publish(by_caf, 0, loopback);
  if (!port) throw std::system_error(EADDRNOTAVAIL, std::generic_category(), "CAF cannot publish");
  const auto self = endpoint->self();
  const auto inbox =
      endpoint->open_inbox([&](std::span<const std::byte> message) { caf::anon_send(by_wire, text_of(message)); });
  const greeting hello{.caf_port = *port, .echo = {self.endpoint, self.port, inbox}};
  control.send_all(std::as_bytes(std::span(&hello, 1)));
  std::byte never{};
  static_cast<void>(control.receive_all(std::span(&never, 1)));
}

struct round_figures {
  std::vector<double> us;
  double cpu_s = 0;
};

/// An actor that sends, waits for the answer, and sends again; `send` brings the text to the other side.
class pinger : public caf::event_based_actor {
public:
  using sending = std::function<void(pinger&, const std::string&)>;
  pinger(caf::actor_config& config, std::string text, sending send, std::promise<std::vector<double>>& ended)
      : event_based_actor(config), text_(std::move(text)), send_(std::move(send)), ended_(ended) {}

  void answered() {
    us_.push_back(wire::now_us() - start_);
    if (us_.size() < pings) return go();
    ended_.set_value(std::move(us_));
    quit();
  }

protected:
  caf::behavior make_behavior() override {
    go();
    return {[this](const std::string&) { answered(); }};
  }

private:
  void go() {
    start_ = wire::now_us();
    send_(*this, text_);
  }
  std::string text_;
  sending send_;
  std::promise<std::vector<double>>& ended_;
  std::vector<double> us_;
  double start_ = 0;
};

class actor_ping {
public:
  explicit actor_ping(wire::placing cores)
      : other_([cores](const wire::raw_socket& control) {
          const wire::placement there(cores, false);
          live(control);
        }),
        here_(cores, true), system_(config_),
        tcp_(std::move(transport::make_endpoint({.cluster_token = "bench", .shared_memory = false})).value()),
        shm_(std::move(transport::make_endpoint({.cluster_token = "bench"})).value()) {
    const auto hello = other_.greeting<greeting>();
    echo_ = wire::to_address(hello.echo);
    auto found = system_.middleman().remote_actor(loopback, hello.caf_port);
    if (!found) throw std::system_error(ECONNREFUSED, std::generic_category(), "CAF cannot connect");
    remote_ = *found;
  }

  round_figures over_caf() {
    return run(std::string(bytes, 'x'), [this](pinger& self, const std::string& text) {
      self.request(remote_, caf::infinite, text).then([&self](const std::string&) { self.answered(); });
    });
  }

  round_figures over_tcp() { return over_transport(*tcp_); }
  round_figures over_shm() { return over_transport(*shm_); }

private:
  round_figures over_transport(transport::endpoint& own) {
    const auto self = own.self();
    caf::actor waiting;
    const auto inbox =
        own.open_inbox([&](std::span<const std::byte> message) { caf::anon_send(waiting, text_of(message)); });
    std::string text(bytes, 'x');
    const wire::place back{self.endpoint, self.port, inbox};
    std::memcpy(text.data(), &back, sizeof back);
    auto figures = run(
        text, [&](pinger&, const std::string& t) { own.submit(echo_, transfer_of(t), {}); }, &waiting);
    own.close_inbox(inbox);
    return figures;
  }

  round_figures run(const std::string& text, pinger::sending send, caf::actor* known = nullptr) {
    std::promise<std::vector<double>> ended;
    auto us = ended.get_future();
    const auto cpu = wire::own_cpu_seconds() + other_.cpu_seconds();
    const auto actor = system_.spawn<pinger>(
        text,
        [&, send](pinger& self, const std::string& t) {
          if (known != nullptr && !*known) *known = caf::actor_cast<caf::actor>(&self);
          send(self, t);
        },
        std::ref(ended));
    if (us.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
      throw std::system_error(ETIMEDOUT, std::generic_category(), "the other process does not answer");
    }
    round_figures f{.us = us.get()};
    f.cpu_s = wire::own_cpu_seconds() + other_.cpu_seconds() - cpu;
    return f;
  }

  wire::forked other_; ///< before this process has a second thread
  wire::placement here_;
  system_config config_;
  caf::actor_system system_;
  std::unique_ptr<transport::endpoint> tcp_, shm_;
  address echo_;
  caf::actor remote_;
};

} // namespace

result<void> bench_actor_ping(const wire::transport_bench_options& options) {
  if (std::string("ping_actor").find(options.only) == std::string::npos) return {};
  try {
    actor_ping ping(options.cores);
    struct series {
      std::vector<double> us, cpu, ratio, cpu_ratio;
    } caf, tcp, shm;
    const auto gb = 2.0 * bytes * pings * 1e-9;
    ping.over_caf(), ping.over_tcp(), ping.over_shm(); // connections
    for (int round = 0; round < options.rounds; ++round) {
      const auto a = ping.over_caf(), b = ping.over_tcp(), c = ping.over_shm();
      const auto note = [&](series& s, const round_figures& f) {
        s.us.insert(s.us.end(), f.us.begin(), f.us.end());
        s.cpu.push_back(f.cpu_s / gb);
        s.ratio.push_back(wire::part(f.us, 0.5) / wire::part(a.us, 0.5));
        s.cpu_ratio.push_back(f.cpu_s / a.cpu_s);
      };
      note(caf, a), note(tcp, b), note(shm, c);
    }
    const auto tell = [&](const char* path, const series& s) {
      options.measured({.name = "ping_actor",
                        .path = path,
                        .bytes = bytes,
                        .p50_us = wire::part(s.us, 0.5),
                        .p99_us = wire::part(s.us, 0.99),
                        .gb_s = 2.0 * bytes / wire::part(s.us, 0.5) * 1e-3,
                        .cpu_s_per_gb = wire::part(s.cpu, 0.5),
                        .ratio_to_raw = wire::part(s.ratio, 0.5),
                        .cpu_ratio_to_raw = wire::part(s.cpu_ratio, 0.5)});
    };
    tell("caf", caf), tell("tcp", tcp), tell("shm", shm);
    return {};
  } catch (const std::system_error& e) {
    return {errc::unavailable, std::string("the benchmark of actors cannot run: ") + e.what()};
  }
}

} // namespace quadrant::actors::bench
