// The endpoint of a process: its own inboxes are reached by copying on the spot, others over TCP.
#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "config/log.hpp"
#include "config/random.hpp"
#include "transport/endpoint.hpp"
#include "transport/tcp/incoming.hpp"
#include "transport/tcp/outgoing.hpp"

namespace quadrant::transport {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;

/// A caller's exception must not end the transport thread.
void run(const completion& done, const result<void>& outcome) {
  try {
    if (done) done(outcome);
  } catch (const std::exception& e) {
    log::error("transport", std::string("a completion threw: ") + e.what());
  } catch (...) {
    log::error("transport", "a completion threw");
  }
}

result<void> check(const transfer& what) {
  if (what.message.size() > max_message_bytes || what.slices.size() > max_slices)
    return {errc::invalid_argument, "a transfer has at most " + std::to_string(max_message_bytes) +
                                        " bytes of message and " + std::to_string(max_slices) + " slices"};
  std::uint64_t sum = 0;
  for (const auto& s : what.slices) {
    if (s.from.size() != s.to.bytes) return {errc::invalid_argument, "a slice whose ends differ in size"};
    sum += s.to.bytes; // real memory: cannot wrap around
    if (sum > max_transfer_bytes)
      return {errc::invalid_argument,
              "a transfer has at most " + std::to_string(max_transfer_bytes) + " bytes of slices"};
  }
  return {};
}

class process_endpoint final : public endpoint {
public:
  explicit process_endpoint(endpoint_options options)
      : options_(std::move(options)), self_{.endpoint = random_u64(), .host = options_.host},
        home_{regions_,
              inboxes_,
              tcp::identity{self_.endpoint, options_.numerics_id, options_.cluster_token, options_.handshake_timeout,
                            options_.stall_timeout},
              bulk_,
              owing_,
              [this](std::uint64_t n) { bytes_received_ += n; },
              [this](std::uint64_t peer, std::span<const std::byte> ack) { return carry(peer, ack); },
              [this](std::uint64_t peer, std::uint64_t id, const result<void>& outcome) {
                if (const auto found = outgoing_.find(peer); found != outgoing_.end())
                  found->second->acked(id, outcome);
              }},
        acceptor_(io_), timer_(io_), work_(io_.get_executor()) {}

  result<void> listen() {
    if (options_.listen) {
      error_code bad;
      const auto host = asio::ip::make_address(options_.host, bad);
      const asio::ip::tcp::endpoint at{host, options_.port};
      if (!bad) acceptor_.open(at.protocol(), bad);
      if (!bad) acceptor_.set_option(asio::socket_base::reuse_address(true), bad);
      if (!bad) acceptor_.bind(at, bad);
      if (!bad) acceptor_.listen(asio::socket_base::max_listen_connections, bad);
      if (bad)
        return {errc::invalid_argument,
                "cannot listen on " + options_.host + ":" + std::to_string(options_.port) + ": " + bad.message()};
      self_.port = acceptor_.local_endpoint().port();
    }
    tick();
    thread_ = std::thread([this] { serve(); });
    return {};
  }

  ~process_endpoint() override {
    if (!thread_.joinable()) return;                        // it never listened: nothing is under way
    QCHECK(std::this_thread::get_id() != thread_.get_id()); // the last owner let go in a handler or completion
    asio::post(io_, [this] {
      closing_ = true; // what is posted or has completed already must start nothing new
      error_code ignored;
      acceptor_.close(ignored);
      timer_.cancel();
      for (const auto& [id, peer] : outgoing_) peer->fail({errc::cancelled, "this endpoint is closing"});
      for (const auto& peer : incoming_) peer->close();
      work_.reset();
    });
    thread_.join();
  }

  [[nodiscard]] address self() const override { return self_; }
  remote_span register_memory(std::span<std::byte> memory) override { return regions_.add(memory); }
  void deregister(std::uint64_t key) override {
    // On the I/O thread itself (a handler's call) dispatch does it on the spot.
    regions_.remove(key, [&] {
      asio::dispatch(io_, [this, key] {
        for (const auto& peer : incoming_) peer->evict(key);
      });
    });
  }
  std::uint32_t open_inbox(inbox_handler handler) override { return inboxes_.open(std::move(handler)); }
  void close_inbox(std::uint32_t inbox) override { inboxes_.close(inbox); }

  void submit(const address& to, transfer what, completion done) override {
    if (const auto possible = check(what); !possible) return run(done, possible);
    if (to.endpoint == self_.endpoint) return run(done, copy_here(to, what));
    ++in_flight_;
    asio::post(io_, [this, to, what = std::move(what), done = std::move(done)]() mutable {
      auto finish = [this, done = std::move(done)](const result<void>& outcome) {
        --in_flight_;
        run(done, outcome);
      };
      if (closing_) return finish(failure{errc::cancelled, "this endpoint is closing"});
      peer_for(to)->submit(to.inbox, std::move(what), std::move(finish));
    });
  }

  void drop_peer(std::uint64_t endpoint_id) override {
    asio::post(io_, [this, endpoint_id] {
      if (const auto found = outgoing_.find(endpoint_id); found != outgoing_.end())
        found->second->fail({errc::peer_lost, "the peer was given up"});
      for (const auto& peer : incoming_)
        if (peer->peer() == endpoint_id) peer->close();
      bury();
    });
  }

  [[nodiscard]] endpoint_books books() const override {
    return {.bytes_sent = bytes_sent_,
            .bytes_received = bytes_received_,
            .transfers_in_flight = in_flight_,
            .regions = regions_.size(),
            .peers = peers_};
  }

private:
  /// The life of the I/O thread. After an event it looks for the next one for a while before it sleeps, because to be
  /// woken takes longer than most answers; not where much is under way, and the more seldom the more often it looked in
  /// vain: the other side may need this very core.
  void serve() {
    int in_vain = 0, leave_out = 0;
    while (!io_.stopped()) {
      io_.run_one();
      settle();
      if (leave_out > 0) {
        --leave_out;
        continue;
      }
      if (bulk_.any() || options_.busy_poll.count() == 0) continue;
      in_vain = look_on() ? 0 : std::min(in_vain + 1, 6);
      leave_out = (1 << in_vain) - 1;
    }
  }
  /// True where something came in time.
  bool look_on() {
    const auto end = std::chrono::steady_clock::now() + options_.busy_poll;
    bool came = false;
    while (!came && std::chrono::steady_clock::now() < end) came = settle() > 0;
    return came;
  }
  /// Does what can be done at once, and answers after that: then it answers much at a time. A stream that never runs dry
  /// does not keep the answers back for ever.
  std::size_t settle() {
    constexpr std::size_t many = 64;
    std::size_t done = 0, now = 0;
    do {
      for (now = 0; now < many && io_.poll_one() > 0;) ++now;
      for (const auto& peer : std::exchange(owing_, {})) peer->write_acks();
      for (const auto& peer : std::exchange(carrying_, {})) peer->flush();
      done += now;
    } while (now > 0);
    return done;
  }

  /// The loopback path: the submitting thread carries the bytes and delivers the message.
  result<void> copy_here(const address& to, const transfer& what) {
    for (const auto& s : what.slices) {
      const auto place = regions_.pin(s.to);
      if (!place) return place.error();
      if (!s.from.empty()) std::memmove(place->data(), s.from.data(), s.from.size());
      regions_.unpin(s.to.key);
      bytes_sent_ += s.from.size();
      bytes_received_ += s.from.size();
    }
    return inboxes_.deliver(to.inbox, what.message);
  }

  std::shared_ptr<tcp::outgoing> peer_for(const address& to) {
    auto& peer = outgoing_[to.endpoint];
    if (peer && peer->dead()) close_both(to.endpoint, *peer);
    if (!peer || peer->dead())
      peer = std::make_shared<tcp::outgoing>(io_, home_.self, to, bulk_, ids_,
                                             [this](std::uint64_t n) { bytes_sent_ += n; });
    peers_ = outgoing_.size() + incoming_.size();
    return peer;
  }

  /// An acknowledgement goes with what we send that peer, if we do.
  bool carry(std::uint64_t peer, std::span<const std::byte> ack) {
    const auto found = outgoing_.find(peer);
    if (found == outgoing_.end() || !found->second->carry(ack)) return false;
    carrying_.push_back(found->second);
    return true;
  }

  void accept() {
    accepting_ = true;
    acceptor_.async_accept([this](error_code e, asio::ip::tcp::socket socket) {
      accepting_ = false;
      if (closing_) return;
      if (e) return log::warn("transport", "cannot accept a connection: " + e.message()); // the next tick tries again
      incoming_.push_back(std::make_shared<tcp::incoming>(std::move(socket), home_));
      incoming_.back()->start();
      accept();
    });
  }

  void tick() {
    if (options_.listen && !accepting_) accept();
    timer_.expires_after(milliseconds(50));
    timer_.async_wait([this](error_code) {
      if (closing_) return;
      const auto now = std::chrono::steady_clock::now();
      for (const auto& [id, peer] : outgoing_) peer->expire(now);
      for (const auto& peer : incoming_) peer->expire(now);
      bury();
      tick();
    });
  }

  /// What we sent a peer over a stream that died may have held answers that it waits for: then its stream to us goes too,
  /// and it knows.
  void close_both(std::uint64_t id, const tcp::outgoing& dead) {
    for (const auto& from : incoming_)
      if (dead.has_carried() && from->peer() == id) from->close();
  }

  /// Forgets dead connections.
  void bury() {
    for (const auto& [id, peer] : outgoing_)
      if (peer->dead()) close_both(id, *peer);
    std::erase_if(outgoing_, [](const auto& entry) { return entry.second->dead(); });
    std::erase_if(incoming_, [](const auto& peer) { return peer->dead(); });
    peers_ = outgoing_.size() + incoming_.size();
  }

  endpoint_options options_;
  address self_;
  region_table regions_;
  inbox_table inboxes_;
  std::atomic<std::uint64_t> bytes_sent_{0}, bytes_received_{0}, in_flight_{0}, peers_{0};
  tcp::bulk_count bulk_;
  tcp::incoming::house home_;
  asio::io_context io_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  // Of the I/O thread:
  std::map<std::uint64_t, std::shared_ptr<tcp::outgoing>> outgoing_; ///< by endpoint
  std::vector<std::shared_ptr<tcp::incoming>> incoming_, owing_;     ///< owing_: acks
  std::vector<std::shared_ptr<tcp::outgoing>> carrying_;             ///< acks
  std::uint64_t ids_ = 0;                                            ///< of transfers
  bool accepting_ = false, closing_ = false;
  std::thread thread_;
};

} // namespace

result<std::unique_ptr<endpoint>> make_endpoint(endpoint_options options) {
  auto made = std::make_unique<process_endpoint>(std::move(options));
  QUADRANT_TRY_VOID(made->listen());
  return std::unique_ptr<endpoint>(std::move(made));
}

} // namespace quadrant::transport
