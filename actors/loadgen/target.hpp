// actors/loadgen/target.hpp: the server that is asked, and the requests as bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "config/result.hpp"

namespace quadrant::actors::loadgen {

struct target {
  bool tls = false;
  std::string host; ///< a name or an address, an IPv6 one without its brackets
  std::uint16_t port = 0;
  std::string prefix; ///< of every path: "" or "/proxy"
  std::string key;    ///< sent as a bearer token where it is not empty; never shown

  /// "127.0.0.1:8080", "[::1]:8080"
  [[nodiscard]] std::string authority() const;
  [[nodiscard]] std::string url() const;
};

/// "http://127.0.0.1:8080", also with the /v1 that other programs want at its end.
/// Errors  errc::invalid_argument
result<target> parse_url(std::string_view url, std::string key);

/// A whole HTTP/1.1 request; GET where the body is empty. `path` is "/v1/models".
std::string request_bytes(const target& to, std::string_view path, std::string_view body);

} // namespace quadrant::actors::loadgen
