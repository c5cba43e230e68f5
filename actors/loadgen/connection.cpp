#include "actors/loadgen/connection.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace quadrant::actors::loadgen {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto waiting = asio::as_tuple(asio::use_awaitable);

/// Stream: tcp::socket, or TLS over one.
template <class Stream>
class connection_over : public connection {
public:
  explicit connection_over(Stream stream) : stream_(std::move(stream)) {}

  asio::awaitable<error_code> open(const endpoints& to) override {
    auto [code, where] = co_await asio::async_connect(socket(), to, waiting);
    error_code ignored;
    if (!code) socket().set_option(tcp::no_delay(true), ignored);
    co_return code;
  }
  asio::awaitable<error_code> write(std::string_view bytes) override {
    auto [code, size] = co_await asio::async_write(stream_, asio::buffer(bytes.data(), bytes.size()), waiting);
    co_return code;
  }
  asio::awaitable<std::pair<error_code, std::size_t>> read(asio::mutable_buffer into) override {
    auto [code, size] = co_await stream_.async_read_some(into, waiting);
    co_return std::pair(code, size);
  }
  void close() override {
    error_code ignored;
    socket().close(ignored);
  }

protected:
  [[nodiscard]] tcp::socket& socket() {
    if constexpr (std::is_same_v<Stream, tcp::socket>)
      return stream_;
    else
      return stream_.next_layer();
  }
  Stream stream_;
};

class tls_connection final : public connection_over<asio::ssl::stream<tcp::socket>> {
public:
  tls_connection(asio::io_context& io, asio::ssl::context& context, const std::string& host)
      : connection_over(asio::ssl::stream<tcp::socket>(io, context)), host_(host) {}

  asio::awaitable<error_code> open(const endpoints& to) override {
    error_code code = co_await connection_over::open(to);
    if (code) co_return code;
    boost::system::error_code ignored;
    asio::ip::make_address(host_, ignored);
    if (ignored) SSL_set_tlsext_host_name(stream_.native_handle(), host_.c_str()); // a name: an address has no SNI
    stream_.set_verify_mode(asio::ssl::verify_peer);
    stream_.set_verify_callback(asio::ssl::host_name_verification(host_));
    auto [shaken] = co_await stream_.async_handshake(asio::ssl::stream_base::client, waiting);
    co_return shaken;
  }

private:
  std::string host_;
};

} // namespace

struct dialler::tls_state {
  asio::ssl::context context{asio::ssl::context::tls_client};
};

dialler::dialler(asio::io_context& io, bool tls, std::string host) : io_(io), host_(std::move(host)) {
  if (!tls) return;
  tls_ = std::make_unique<tls_state>();
  boost::system::error_code ignored; // without certificates every handshake fails, and says why
  tls_->context.set_default_verify_paths(ignored);
}
dialler::~dialler() = default;

std::unique_ptr<connection> dialler::make() const {
  if (tls_) return std::make_unique<tls_connection>(io_, tls_->context, host_);
  return std::make_unique<connection_over<tcp::socket>>(tcp::socket(io_));
}

} // namespace quadrant::actors::loadgen
