// transport/tcp/socket_stream.hpp: a TCP connection as a byte stream.
#pragma once
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/container/static_vector.hpp>

#include "transport/stream/byte_stream.hpp"

namespace quadrant::transport::tcp {

class socket_stream final : public stream::byte_stream {
public:
  explicit socket_stream(boost::asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
    boost::system::error_code ignored;
    socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  }

  void read_some(std::span<const boost::asio::mutable_buffer> into, handler done) override {
    const boost::container::static_vector<boost::asio::mutable_buffer, stream::most_read_buffers> buffers(into.begin(),
                                                                                                          into.end());
    socket_.async_read_some(buffers, boost::asio::bind_cancellation_slot(stop_read_.slot(), std::move(done)));
  }
  void cancel_read() override { stop_read_.emit(boost::asio::cancellation_type::total); }
  void write(std::vector<boost::asio::const_buffer> from, handler done) override {
    // Asio would write 64 KiB a call unless told how much is left.
    const auto left = [total = boost::asio::buffer_size(from)](boost::system::error_code e, std::size_t written) {
      return e ? 0 : total - written;
    };
    boost::asio::async_write(socket_, from, left, std::move(done));
  }
  void close() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  [[nodiscard]] bool moves_by_itself() const noexcept override { return true; }
  [[nodiscard]] const char* path() const noexcept override { return "tcp"; }

private:
  boost::asio::ip::tcp::socket socket_;
  boost::asio::cancellation_signal stop_read_;
};

} // namespace quadrant::transport::tcp
