// actors/http/request_reader.hpp: bytes to HTTP/1 requests, whatever the pieces. The one place that knows Beast.
// Errors  a status and a line: 400 not HTTP/1.0 or 1.1; 413 the body, 431 the head is over its limit
// Threads one owner
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "actors/http/api_error.hpp"
#include "actors/http/limits.hpp"

namespace quadrant::actors::http {

struct http_request {
  std::string method; ///< as it came
  std::string path;   ///< of the target, without a query
  std::string body;
  std::string request_id, authorization; ///< fields of the head, as they came; empty: none
  int minor = 1;                         ///< HTTP/1.minor: 0 or 1
  bool keep_alive = true;                ///< may the connection be used again?
};

class request_reader {
public:
  /// `allowed` outlives this.
  explicit request_reader(const limits& allowed);
  ~request_reader();

  /// Reads on; the bytes that count as read are the caller's to drop. After done() or a problem it reads no more until
  /// take().
  std::size_t feed(std::string_view bytes);

  [[nodiscard]] bool head_done() const;
  [[nodiscard]] bool done() const;
  /// Does the client wait for "100 Continue" before it sends the body? Says yes once.
  bool wants_continue();
  [[nodiscard]] const std::optional<api_error>& problem() const noexcept { return problem_; }

  /// The request that is done; the reader begins the next.
  http_request take();

private:
  [[nodiscard]] bool has_transfer_encoding() const;

  struct parser; // Beast's
  const limits& allowed_;
  std::unique_ptr<parser> parser_;
  std::optional<api_error> problem_;
  bool continued_ = false;
};

} // namespace quadrant::actors::http
