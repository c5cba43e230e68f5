#include "actors/loadgen/client.hpp"

#include <array>
#include <chrono>

#include <boost/asio/steady_timer.hpp>

#include "config/clock.hpp"

namespace quadrant::actors::loadgen {

namespace asio = boost::asio;

struct client::flight {
  std::unique_ptr<connection> over;
  bool timed_out = false, cancelled = false, answered = false; ///< answered: some bytes of a response have come

  [[nodiscard]] bool ended() const noexcept { return timed_out || cancelled; }
  void end(bool& why) {
    why = true;
    if (over) over->close();
  }
};

client::client(asio::io_context& io, target to) : io_(io), to_(std::move(to)), dialler_(io, to_.tls, to_.host) {}

result<std::unique_ptr<client>> client::make(asio::io_context& io, target to) {
  std::unique_ptr<client> made(new client(io, std::move(to)));
  boost::system::error_code code;
  asio::ip::tcp::resolver resolver(io);
  made->endpoints_ = resolver.resolve(made->to_.host, std::to_string(made->to_.port), code);
  if (code) return {errc::not_found, "the server " + made->to_.host + " is not known here: " + code.message()};
  return made;
}

asio::awaitable<exchange> client::send(std::string_view path, std::string body, std::int64_t timeout_ns,
                                       piece_sink sink) {
  const auto bytes = request_bytes(to_, path, body);
  const auto f = std::make_shared<flight>();
  flights_.insert(f);
  asio::steady_timer timer(io_, std::chrono::nanoseconds(timeout_ns));
  timer.async_wait([f](boost::system::error_code code) {
    if (!code) f->end(f->timed_out);
  });
  exchange done;
  for (bool again = true; again;) {
    const bool reused = !idle_.empty();
    f->answered = false;
    if (reused) {
      f->over = std::move(idle_.back());
      idle_.pop_back();
    } else {
      f->over = dialler_.make();
    }
    done = co_await attempt(f, reused, bytes, sink);
    again = reused && done.end == exchange_end::broken && !f->answered && !f->ended();
  }
  timer.cancel();
  flights_.erase(f);
  f->over.reset();
  if (done.end != exchange_end::whole && f->cancelled) done = {exchange_end::cancelled, "cancelled"};
  if (done.end != exchange_end::whole && f->timed_out) done = {exchange_end::timeout, "no whole answer in time"};
  co_return done;
}

asio::awaitable<exchange> client::attempt(std::shared_ptr<flight> of, bool reused, const std::string& bytes,
                                          const piece_sink& sink) {
  auto& over = *of->over;
  connection::error_code code;
  if (!reused) {
    code = co_await over.open(endpoints_);
    if (code) co_return exchange{exchange_end::connect, "cannot connect to " + to_.authority() + ": " + code.message()};
  }
  code = co_await over.write(bytes); // a server that refuses a long request may have answered all the same
  response_reader reader;
  std::array<char, 16 << 10> buffer; // NOLINT(cppcoreguidelines-pro-type-member-init)
  std::string unread;
  while (!reader.done()) {
    const auto [read_code, size] = co_await over.read(asio::buffer(buffer));
    const auto now = steady_clock::monotonic_ns();
    if (of->ended()) co_return exchange{exchange_end::broken, {}};
    of->answered |= size > 0;
    unread.append(buffer.data(), size);
    unread.erase(0, reader.feed(unread));
    if (read_code) reader.end_of_bytes();
    if (reader.head_done()) sink(reader, reader.take_body(), now);
    if (reader.problem() || (read_code && !reader.done())) {
      if (!code && read_code != asio::error::eof) code = read_code;
      co_return exchange{exchange_end::broken,
                         reader.problem().value_or("the answer is not whole") + (code ? ": " + code.message() : "")};
    }
    if (read_code) co_return exchange{}; // the end of the connection was the end of the answer
  }
  if (!code && reader.keep_alive() && unread.empty()) idle_.push_back(std::move(of->over));
  co_return exchange{};
}

void client::cancel_all() {
  for (const auto& f : flights_) f->end(f->cancelled);
}

} // namespace quadrant::actors::loadgen
