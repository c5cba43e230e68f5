// actors/http/server.hpp: the HTTP door of an engine, in the forms of OpenAI's API.
//
//   POST /v1/chat/completions    plain, or server-sent events        GET /health     200, or 503 and why
//   GET  /v1/models, /v1/models/ID                                   GET /metrics    Prometheus text
//
// One I/O thread owns every connection; aside of it two read prompts and one asks the cluster how it is, which may
// wait.
// Security  no authentication and no TLS: bind loopback, or put a proxy before it.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "actors/chat_text.hpp"
#include "actors/engine.hpp"
#include "actors/http/limits.hpp"
#include "config/result.hpp"

namespace quadrant::actors::http {

struct server_options {
  std::string host = "127.0.0.1"; ///< an address, or localhost
  std::uint16_t port = 8080;      ///< 0: any
  std::string model = "default";  ///< the name under which the engine's model is served
  limits allowed;
};

class http_server {
public:
  /// Serves when it returns. The engine outlives it.
  /// Errors  errc::invalid_argument: host is no address; errc::unavailable: the port cannot be had
  static result<std::unique_ptr<http_server>> start(server_options options, engine& cluster, chat_text text);
  ~http_server(); ///< drain with no patience, where it has not been drained

  [[nodiscard]] std::uint16_t port() const;
  /// Takes nothing new, lets answers under way come to their end for as long as `patience`, then ends them with an
  /// error. Returns how many it had to end.
  std::size_t drain(std::chrono::milliseconds patience);

private:
  class core;
  explicit http_server(std::unique_ptr<core> c);
  std::unique_ptr<core> core_;
};

} // namespace quadrant::actors::http
