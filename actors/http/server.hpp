// actors/http/server.hpp: the HTTP door of an engine, in the forms of OpenAI's API.
//
//   POST /v1/chat/completions, /v1/completions    whole, or server-sent events
//   POST /tokenize, /detokenize                   text to ids and back
//   GET  /v1/models, /v1/models/ID                the one model
//   GET  /health, /metrics, /version              open to all, keys or not
//
// It listens before there is an engine: until serve() is called, /health says how far loading is, and who asks for more
// gets 503. One I/O thread owns every connection; aside of it two read prompts and one asks the cluster how it is, which
// may wait.
// Security  API keys, where there are any; no TLS: bind loopback, or put a proxy before it.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "actors/chat_text.hpp"
#include "actors/engine.hpp"
#include "actors/http/api_keys.hpp"
#include "actors/http/limits.hpp"
#include "config/result.hpp"

namespace quadrant::actors::http {

struct server_options {
  std::string host = "127.0.0.1"; ///< an address, or localhost
  std::uint16_t port = 8080;      ///< 0: any
  std::string model = "default";  ///< the name under which the engine's model is served
  std::string version{};          ///< what GET /version says
  api_keys keys{};
  limits allowed{};
};

class http_server {
public:
  /// Listens and answers when it returns, but serves no model yet.
  /// Errors  errc::invalid_argument: host is no address; errc::unavailable: the port cannot be had
  static result<std::unique_ptr<http_server>> start(server_options options);
  ~http_server(); ///< drain with no patience, where it has not been drained

  /// From now on requests go to `cluster`, which outlives this. Once.
  void serve(engine& cluster, chat_text text);

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
