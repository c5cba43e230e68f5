// actors/loadgen/client.hpp: HTTP/1.1 requests to one server, as many at a time as there are callers.
//
//   exchange ─▶ an idle connection, or a new one ─▶ request ─▶ response, piece by piece ─▶ idle again
//
// A connection that the server closed while it was idle costs a second try on a new one, and nothing else is tried twice.
// Threads one: that of the io_context
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "actors/loadgen/connection.hpp"
#include "actors/loadgen/exchange.hpp"
#include "actors/loadgen/response_reader.hpp"
#include "actors/loadgen/target.hpp"
#include "config/result.hpp"

namespace quadrant::actors::loadgen {

class client {
public:
  /// A piece of the response's body, perhaps empty, when it came (monotonic ns), and the head.
  using piece_sink = std::function<void(const response_reader& head, std::string_view piece, std::int64_t at_ns)>;

  /// Finds the server's addresses, which may take a while.
  /// Errors  errc::not_found
  static result<std::unique_ptr<client>> make(boost::asio::io_context& io, target to);

  /// `path`, a literal, with a body, or without (GET). The sink is called until the exchange ends.
  boost::asio::awaitable<exchange> send(std::string_view path, std::string body, std::int64_t timeout_ns,
                                        piece_sink sink);
  void cancel_all();
  [[nodiscard]] const target& where() const noexcept { return to_; }

private:
  struct flight; ///< an exchange under way

  client(boost::asio::io_context& io, target to);
  boost::asio::awaitable<exchange> attempt(std::shared_ptr<flight> of, bool reused, const std::string& bytes,
                                           const piece_sink& sink);

  boost::asio::io_context& io_;
  target to_;
  dialler dialler_;
  connection::endpoints endpoints_;
  std::vector<std::unique_ptr<connection>> idle_;
  std::unordered_set<std::shared_ptr<flight>> flights_;
};

} // namespace quadrant::actors::loadgen
