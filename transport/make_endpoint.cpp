// The endpoint of a process: its own inboxes are reached by copying on the spot, others over TCP.
#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "config/log.hpp"
#include "config/random.hpp"
#include "transport/connector.hpp"
#include "transport/endpoint.hpp"
#include "transport/peer.hpp"
#include "transport/stream/incoming.hpp"
#ifdef QUADRANT_RDMA
#include "transport/rdma/queue_stream.hpp"
#endif

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
        home_{.regions = regions_,
              .inboxes = inboxes_,
              .self = {self_.endpoint, options_.numerics_id, options_.cluster_token, options_.handshake_timeout,
                       options_.stall_timeout},
              .bulk = bulk_,
              .owing = owing_,
              .placed = [this](std::uint64_t n) { bytes_received_ += n; },
              .carry = [this](std::uint64_t id, std::span<const std::byte> ack) { return carry(id, ack); },
              .acked = [this](std::uint64_t id, std::uint64_t transfer,
                              const result<void>& outcome) { peer_of(id).answered(transfer, outcome); },
              .intake_of = [this](std::uint64_t id) -> intake& { return peer_of(id).intake(); },
              .close_lane =
                  [this](intake::lane_id lane) {
                    for (const auto& stream : incoming_)
                      if (stream->id() == lane) stream->close();
                  },
              .make_upgrade = [this] { return make_upgrade(); },
              .credits = options_.credits},
        around_{
            .dial = {.dial = [this](const address& to,
                                    stream::outgoing::dialled done) { return connector_.dial(to, std::move(done)); },
                     .make_upgrade = [this] { return make_upgrade(); }},
            .self = home_.self,
            .bulk = bulk_,
            .credits_out = credits_out_,
            .sent = [this](std::uint64_t n) { bytes_sent_ += n; },
            .no_upgrade =
                [this](const failure& why) {
                  log::warn("transport", "no RDMA any more: " + why.message);
                  options_.rdma = false;
                },
            .connections = std::max<std::size_t>(1, options_.connections),
            .credits = options_.credits},
        connector_(io_, options_, self_.endpoint, rings_,
                   [this](std::unique_ptr<stream::byte_stream> connection) { take_in(std::move(connection)); }),
        timer_(io_), work_(io_.get_executor()) {}

  result<void> listen() {
    if (options_.listen) {
      QUADRANT_TRY(self_.port, connector_.listen());
    }
#ifdef QUADRANT_RDMA
    if (options_.rdma) {
      auto found = rdma::device::open();
      if (found) {
        rdma_ = std::move(*found);
        known_ = std::make_shared<rdma::memory_map>(rdma_);
      }
      options_.rdma = rdma_ != nullptr;
    }
#endif
    tick();
    thread_ = std::thread([this] { serve(); });
    return {};
  }

  /// A way over RDMA for a connection; null where there is none.
  std::unique_ptr<stream::upgrade> make_upgrade() {
#ifdef QUADRANT_RDMA
    if (options_.rdma) return rdma::make_queue_upgrade(rdma_, known_, rings_, io_.get_executor());
#endif
    return nullptr;
  }

  ~process_endpoint() override {
    if (!thread_.joinable()) return;                        // it never listened: nothing is under way
    QCHECK(std::this_thread::get_id() != thread_.get_id()); // the last owner let go in a handler or completion
    asio::post(io_, [this] {
      closing_ = true; // what is posted or has completed already must start nothing new
      connector_.close();
      timer_.cancel();
      for (const auto& [id, peer] : peers_) peer->fail({errc::cancelled, "this endpoint is closing"});
      for (const auto& in : incoming_) in->close();
      work_.reset();
    });
    thread_.join();
  }

  [[nodiscard]] address self() const override { return self_; }
  remote_span register_memory(std::span<std::byte> memory, std::string owner) override {
    const auto span = regions_.add(memory, std::move(owner));
#ifdef QUADRANT_RDMA
    if (known_)
      if (const auto locked = known_->add(span.key, memory); !locked)
        log::warn("transport", regions_.owner_of(span.key) + " goes through staging: " + locked.error().message);
#endif
    return span;
  }
  void deregister(std::uint64_t key) override {
    // On the I/O thread itself (a handler's call) dispatch does it on the spot.
    regions_.remove(key, [&] {
      asio::dispatch(io_, [this, key] {
        for (const auto& stream : incoming_) stream->evict(key);
      });
    });
#ifdef QUADRANT_RDMA
    if (known_) known_->remove(key);
#endif
  }
  std::uint32_t open_inbox(inbox_handler handler) override { return inboxes_.open(std::move(handler)); }
  void close_inbox(std::uint32_t inbox) override { inboxes_.close(inbox); }

  std::uint64_t submit(const address& to, transfer what, completion done) override {
    const auto handle = ++handles_;
    if (const auto possible = check(what); !possible) return run(done, possible), handle;
    if (to.endpoint == self_.endpoint) return run(done, copy_here(to, what)), handle;
    ++in_flight_;
    on_thread([this, to, handle, what = std::move(what), done = std::move(done)]() mutable {
      auto finish = [this, done = std::move(done)](const result<void>& outcome) {
        --in_flight_;
        run(done, outcome);
      };
      if (closing_) return finish(failure{errc::cancelled, "this endpoint is closing"});
      auto& peer = peer_of(to.endpoint);
      const auto before = peer.streams().size();
      peer.submit(to, handle, std::move(what), std::move(finish));
      if (peer.streams().size() != before) count_streams();
    });
    return handle;
  }

  void cancel(std::uint64_t transfer) override {
    asio::post(io_, [this, transfer] {
      for (const auto& [id, peer] : peers_)
        if (peer->cancel(transfer)) return;
    });
  }

  void drop_peer(std::uint64_t endpoint_id) override {
    asio::post(io_, [this, endpoint_id] {
      if (const auto found = peers_.find(endpoint_id); found != peers_.end())
        found->second->fail({errc::peer_lost, "the peer was given up"});
      for (const auto& stream : incoming_)
        if (stream->peer() == endpoint_id) stream->close();
      bury();
    });
  }

  [[nodiscard]] endpoint_books books() const override {
    std::uint64_t placed = 0;
#ifdef QUADRANT_RDMA
    if (known_) placed = known_->bytes_placed;
#endif
    return {.bytes_sent = bytes_sent_,
            .bytes_received = bytes_received_,
            .bytes_placed = placed,
            .transfers_in_flight = in_flight_,
            .regions = regions_.size(),
            .peers = streams_,
            .over_shared_memory = near_streams_,
            .over_rdma = rdma_streams_,
            .credits_out = credits_out_};
  }

private:
  /// The life of the I/O thread. After an event it looks for the next one for a while before it sleeps, because to be
  /// woken takes longer than most answers; not where much is under way, and the more seldom the more often it looked in
  /// vain: the other side may need this very core.
  void serve() {
    thread_id_ = std::this_thread::get_id();
    int in_vain = 0, leave_out = 0;
    while (!io_.stopped()) {
      if (rings_.prepare_to_sleep()) io_.run_one();
      settle();
      if (leave_out > 0) {
        --leave_out;
        continue;
      }
      if (bulk_.any() || options_.busy_poll.count() == 0) continue;
      bool came = false;
      while (!io_.stopped() && !bulk_.any() && !rings_.shares_core() && look_on()) came = true;
      in_vain = came ? 0 : std::min(in_vain + 1, 6);
      leave_out = (1 << in_vain) - 1;
    }
    while (!soon_.empty()) run_soon();
  }
  /// Runs it on the I/O thread, never in this call.
  void on_thread(std::function<void()> task) {
    if (std::this_thread::get_id() == thread_id_.load(std::memory_order_relaxed))
      soon_.push_back(std::move(task));
    else
      asio::post(io_, std::move(task));
  }
  std::size_t run_soon() {
    const auto tasks = std::exchange(soon_, {});
    for (const auto& task : tasks) task();
    return tasks.size();
  }
  /// True where something came in time.
  bool look_on() {
    const auto end = std::chrono::steady_clock::now() + options_.busy_poll;
    constexpr int looks = 16; // at the rings, which cost nothing, for one at the sockets
    bool came = false;
    while (!came && std::chrono::steady_clock::now() < end) {
      for (int i = 0; i < looks && !came; ++i) came = rings_.poll() > 0;
      came = settle() > 0 || came;
    }
    return came;
  }
  /// Does what can be done at once, and answers after that: then it answers much at a time. A stream that never runs dry
  /// does not keep the answers back for ever.
  std::size_t settle() {
    constexpr std::size_t many = 64;
    std::size_t done = 0, now = 0, rounds = 0;
    do {
      now = rings_.poll() + run_soon();
      if (now == 0 || ++rounds % many == 0) // a ring that never runs dry does not keep the sockets waiting
        while (now < many && io_.poll_one() > 0) ++now;
      now += run_soon();
      for (const auto& stream : std::exchange(owing_, {})) stream->write_acks();
      for (auto* peer : std::exchange(carrying_, {})) peer->flush();
      done += now;
    } while (now > 0 || !soon_.empty());
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

  peer& peer_of(std::uint64_t id) {
    auto& found = peers_[id];
    if (!found) found = std::make_unique<peer>(around_);
    return *found;
  }

  /// An acknowledgement goes with what we send that peer, if we do.
  bool carry(std::uint64_t id, std::span<const std::byte> ack) {
    auto& to = peer_of(id);
    if (!to.carry(ack)) return false;
    carrying_.push_back(&to);
    return true;
  }

  void count_streams() {
    std::uint64_t all = 0, near = 0, far = 0;
    const auto count = [&](std::string_view path) {
      ++all;
      near += path == "shm" ? 1 : 0;
      far += path == "rdma" ? 1 : 0;
    };
    for (const auto& in : incoming_) count(in->path());
    for (const auto& [id, peer] : peers_)
      for (const auto& out : peer->streams()) count(out->path());
    streams_ = all, near_streams_ = near, rdma_streams_ = far;
  }

  void take_in(std::unique_ptr<stream::byte_stream> connection) {
    incoming_.push_back(std::make_shared<stream::incoming>(std::move(connection), home_, ++around_.lanes));
    incoming_.back()->start();
  }

  void tick() {
    timer_.expires_after(milliseconds(50));
    timer_.async_wait([this](error_code) {
      if (closing_) return;
      const auto now = std::chrono::steady_clock::now();
      for (const auto& [id, peer] : peers_) peer->tick(now);
      for (const auto& stream : incoming_) stream->expire(now);
      connector_.tick(now);
      bury();
      tick();
    });
  }

  /// Forgets dead connections. What a peer waits for may have been lost with one: it is asked for again by whoever waits.
  void bury() {
    for (const auto& dead : incoming_) {
      if (!dead->dead() || dead->peer() == 0) continue;
      const auto id = dead->peer();
      const bool others = std::ranges::any_of(incoming_, [&](const auto& s) { return s->peer() == id && !s->dead(); });
      auto& of = peer_of(id);
      others ? of.ask(std::chrono::steady_clock::now()) : of.forget_arrivals();
    }
    std::erase_if(incoming_, [](const auto& stream) { return stream->dead(); });
    count_streams();
  }

  endpoint_options options_;
  address self_;
  region_table regions_;
  inbox_table inboxes_;
  std::atomic<std::uint64_t> bytes_sent_{0}, bytes_received_{0}, in_flight_{0}, streams_{0}, near_streams_{0},
      rdma_streams_{0}, credits_out_{0}, handles_{0};
  stream::bulk_count bulk_;
  stream::poll_set rings_; ///< outlives what the context still owns
  asio::io_context io_;
  stream::incoming::house home_;
  peer::surroundings around_;
#ifdef QUADRANT_RDMA
  std::shared_ptr<rdma::device> rdma_;
  std::shared_ptr<rdma::memory_map> known_; ///< with a device
#endif
  connector connector_;
  asio::steady_timer timer_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  // Of the I/O thread:
  std::map<std::uint64_t, std::unique_ptr<peer>> peers_;            ///< by endpoint, as long as this lives
  std::vector<std::shared_ptr<stream::incoming>> incoming_, owing_; ///< owing_: acks
  std::vector<peer*> carrying_;                                     ///< acks
  std::vector<std::function<void()>> soon_;                         ///< what this thread has given itself to do
  bool closing_ = false;
  std::atomic<std::thread::id> thread_id_{};
  std::thread thread_;
};

} // namespace

result<std::unique_ptr<endpoint>> make_endpoint(endpoint_options options) {
  auto made = std::make_unique<process_endpoint>(std::move(options));
  QUADRANT_TRY_VOID(made->listen());
  return std::unique_ptr<endpoint>(std::move(made));
}

} // namespace quadrant::transport
