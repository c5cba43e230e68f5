// test/transport/chaos_proxy.hpp: a stretch of bad network: a TCP proxy before an endpoint that cuts what it carries into
// pieces, holds it up, stops carrying it, or breaks in the middle, as its dice say.
//
//   sender ═ connection ═▶ proxy ═ connection ═▶ listener        each direction of each connection has a fate of its own
// Threads one owner; it carries on a thread of its own
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "transport/endpoint.hpp"

namespace quadrant::test {

class chaos_proxy {
  using tcp = boost::asio::ip::tcp;
  using error_code = boost::system::error_code;

public:
  /// How bad it is: of each direction of a connection, in percent.
  struct odds {
    unsigned breaks = 30, stalls = 15, is_slow = 30, is_cut_small = 40;
    std::size_t bytes = 400'000; ///< it breaks or stalls somewhere within so many
    unsigned spared = 0;         ///< so many connections, the first ones, meet no harm
  };

  chaos_proxy(const transport::address& target, std::uint32_t seed, odds o)
      : target_(target), dice_(seed), odds_(o),
        acceptor_(io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)), work_(io_.get_executor()) {
    accept();
    thread_ = std::thread([this] { io_.run(); });
  }
  ~chaos_proxy() {
    io_.stop();
    thread_.join();
  }

  /// The target, but by way of this.
  [[nodiscard]] transport::address address() const {
    auto a = target_;
    a.port = acceptor_.local_endpoint().port();
    return a;
  }
  /// Connections made from now on meet no harm.
  void calm() { calm_ = true; }

private:
  struct connection;
  /// One direction of a connection, and its fate.
  struct lane {
    tcp::socket &from, &to;
    boost::asio::steady_timer timer;
    std::array<char, 16384> bytes{};
    std::size_t carried = 0, breaks_at = SIZE_MAX, stalls_at = SIZE_MAX, most = SIZE_MAX;
    unsigned slowness = 0; ///< ms
  };
  struct connection {
    explicit connection(boost::asio::io_context& io, tcp::socket accepted)
        : sender(std::move(accepted)),
          listener(io), there{sender, listener, boost::asio::steady_timer(io)}, back{listener, sender,
                                                                                     boost::asio::steady_timer(io)} {}
    tcp::socket sender, listener;
    lane there, back;
    void close() {
      error_code ignored;
      sender.close(ignored);
      listener.close(ignored);
      there.timer.cancel();
      back.timer.cancel();
    }
  };

  void accept() {
    acceptor_.async_accept([this](error_code e, tcp::socket accepted) {
      if (e) return;
      const auto c = std::make_shared<connection>(io_, std::move(accepted));
      c->listener.async_connect(tcp::endpoint(boost::asio::ip::address_v4::loopback(), target_.port),
                                [this, c](error_code bad) {
                                  if (bad) return c->close();
                                  const bool is_spared = connections_++ < odds_.spared;
                                  for (auto* l : {&c->there, &c->back}) {
                                    if (!is_spared) draw_fate(*l);
                                    carry(c, *l);
                                  }
                                });
      accept();
    });
  }

  bool happens(unsigned percent) { return dice_() % 100 < percent; }
  void draw_fate(lane& l) {
    if (calm_) return;
    if (happens(odds_.breaks)) l.breaks_at = dice_() % odds_.bytes;
    if (happens(odds_.stalls)) l.stalls_at = dice_() % odds_.bytes;
    if (happens(odds_.is_slow)) l.slowness = 1 + dice_() % 5;
    if (happens(odds_.is_cut_small)) l.most = 1 + dice_() % 3000;
  }

  void carry(const std::shared_ptr<connection>& c, lane& l) {
    const auto most = std::min({l.bytes.size(), l.most, l.breaks_at - l.carried, l.stalls_at - l.carried});
    if (l.carried >= l.breaks_at) return c->close(); // in the middle of whatever it carried
    if (l.carried >= l.stalls_at) return;            // and it stays open
    l.from.async_read_some(boost::asio::buffer(l.bytes.data(), most), [this, c, &l](error_code e, std::size_t n) {
      if (e) return c->close();
      l.carried += n;
      l.timer.expires_after(std::chrono::milliseconds(l.slowness == 0 ? 0 : dice_() % (l.slowness + 1)));
      l.timer.async_wait([this, c, &l, n](error_code gone) {
        if (gone) return;
        boost::asio::async_write(l.to, boost::asio::buffer(l.bytes.data(), n),
                                 [this, c, &l](error_code bad, std::size_t) { bad ? c->close() : carry(c, l); });
      });
    });
  }

  transport::address target_;
  std::minstd_rand dice_; ///< of the thread
  odds odds_;
  unsigned connections_ = 0;
  std::atomic<bool> calm_{false};
  boost::asio::io_context io_;
  tcp::acceptor acceptor_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::thread thread_;
};

} // namespace quadrant::test
