// actors/http/chat_service.hpp: POST /v1/chat/completions: a body becomes a request, its tokens an answer.
//
//   I/O thread      body ──┐                       ┌─▶ submit        token, finished, failed ─▶ events or reply
//   aside thread           └▶ parse, template, ids ┘                   ▲ posted
//   actor threads                                          sink ───────┘
//
// A client that hangs up, or reads too slowly, cancels its request at once; if it still waits aside, nobody reads it.
// The sink may outlive connection and server: it holds the I/O context, and the rest weakly.
// Log     no line holds a client's text
// Threads the I/O thread
#pragma once
#include <memory>
#include <string>

#include "actors/chat_text.hpp"
#include "actors/engine.hpp"
#include "actors/http/connection.hpp"
#include "actors/http/metrics.hpp"

namespace boost::asio {
class io_context;
class thread_pool;
} // namespace boost::asio

namespace quadrant::actors::http {

class chat_service {
public:
  struct around {
    std::shared_ptr<boost::asio::io_context> io;
    boost::asio::thread_pool& aside;
    engine& cluster;
    metrics& counts;
    const limits& allowed;
    chat_text text;
    std::string model; ///< the name that clients give
  };
  /// Outlives every task of the aside threads and every connection.
  explicit chat_service(around with);
  ~chat_service();

  void answer(const std::shared_ptr<connection>& to, std::string body);

  struct state; // what its exchanges share
private:
  std::unique_ptr<state> state_;
};

} // namespace quadrant::actors::http
