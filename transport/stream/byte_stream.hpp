// transport/stream/byte_stream.hpp: what a connection is made of: bytes in order, each way. A socket, or a ring in shared
// memory; the frames on it are the same.
// Threads everything on the endpoint's I/O thread; handlers run there, never in the call that takes them
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>

namespace quadrant::transport::stream {

inline constexpr std::size_t most_read_buffers = 18; ///< that one read is for

class byte_stream {
public:
  using handler = std::function<void(boost::system::error_code, std::size_t)>;

  virtual ~byte_stream() = default;
  /// Some bytes, at least one, into the buffers in their order. One read at a time.
  virtual void read_some(std::span<const boost::asio::mutable_buffer> into, handler done) = 0;
  /// The read that waits ends soon, with operation_aborted.
  virtual void cancel_read() = 0;
  /// All of the bytes, which must stay until then. One write at a time.
  virtual void write(std::vector<boost::asio::const_buffer> from, handler done) = 0;
  /// Reads and writes no memory after this; what waits ends with operation_aborted.
  virtual void close() = 0;
  /// Does the kernel move the bytes meanwhile? Then to look for more of a large transfer only burns the processor.
  [[nodiscard]] virtual bool moves_by_itself() const noexcept = 0;
  [[nodiscard]] virtual const char* path() const noexcept = 0; ///< tcp, shm, rdma
};

/// Until the buffer is full. The stream must live until `done` has run.
inline void read_all(byte_stream& s, std::span<std::byte> into, byte_stream::handler done) {
  const boost::asio::mutable_buffer where(into.data(), into.size());
  s.read_some(std::span(&where, 1), [&s, into, done = std::move(done)](boost::system::error_code e, std::size_t n) {
    if (e || n == into.size()) return done(e, n);
    read_all(s, into.subspan(n), done);
  });
}

} // namespace quadrant::transport::stream
