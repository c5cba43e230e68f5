// actors/loadgen/connection.hpp: bytes to a server and back, over TCP or TLS.
// A coroutine of one thread waits in each call; close() from another one ends the call with operation_aborted.
#pragma once
#include <memory>
#include <string_view>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

namespace quadrant::actors::loadgen {

class connection {
public:
  using error_code = boost::system::error_code;
  using endpoints = boost::asio::ip::tcp::resolver::results_type;

  virtual ~connection() = default;
  virtual boost::asio::awaitable<error_code> open(const endpoints& to) = 0;
  virtual boost::asio::awaitable<error_code> write(std::string_view bytes) = 0;
  /// As much as there is; 0 only beside an error.
  virtual boost::asio::awaitable<std::pair<error_code, std::size_t>> read(boost::asio::mutable_buffer into) = 0;
  virtual void close() = 0;
};

/// Makes connections of one kind.
class dialler {
public:
  /// tls: checks that the server's certificate is `host`'s, by the certificates that the system trusts
  dialler(boost::asio::io_context& io, bool tls, std::string host);
  ~dialler();
  [[nodiscard]] std::unique_ptr<connection> make() const;

private:
  struct tls_state;
  boost::asio::io_context& io_;
  std::string host_;
  std::unique_ptr<tls_state> tls_;
};

} // namespace quadrant::actors::loadgen
