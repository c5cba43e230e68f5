// transport/stream/faulty_stream.hpp: a connection that has a bad day: it is slow, brings a few bytes at a time, stalls, or
// breaks in the middle of a write or a read, as its dice say. Around any byte stream, to test what is built on them.
// Threads the endpoint's I/O thread makes and uses them; the hook may be shared by endpoints
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>

#include <boost/asio/io_context.hpp>

#include "transport/stream/byte_stream.hpp"

namespace quadrant::transport::stream {

/// Sees every connection of an endpoint when it has come about (endpoint_options::hook).
class connection_hook {
public:
  virtual ~connection_hook() = default;
  virtual std::unique_ptr<byte_stream> wrap(std::unique_ptr<byte_stream> made, boost::asio::io_context& io) = 0;
};

/// How bad it is: of each connection, in percent.
struct fault_odds {
  unsigned breaks = 30, stalls = 15, is_slow = 30, is_cut_small = 40;
  std::size_t bytes = 400'000;             ///< it breaks or stalls somewhere within so many, both ways together
  std::chrono::microseconds slowest{3000}; ///< before what has come or gone is told
  unsigned spared = 0;                     ///< so many connections, the first ones, meet no harm
};

class fault_injector final : public connection_hook {
public:
  fault_injector(std::uint32_t seed, fault_odds odds) : dice_(seed), odds_(odds) {}
  std::unique_ptr<byte_stream> wrap(std::unique_ptr<byte_stream> made, boost::asio::io_context& io) override;
  /// Connections made from now on meet no harm.
  void calm();

private:
  std::mutex mutex_;
  std::minstd_rand dice_;
  fault_odds odds_;
  unsigned connections_ = 0;
};

} // namespace quadrant::transport::stream
