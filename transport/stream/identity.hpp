// transport/stream/identity.hpp: who an endpoint is to its peers, and how long it waits for them.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace quadrant::transport::stream {

struct identity {
  std::uint64_t endpoint = 0, numerics = 0;
  std::string token;
  std::chrono::milliseconds handshake_timeout{}, stall_timeout{};
};

/// How many streams have much under way, or had a few events ago: then the next event is some time off, and to look for it
/// would only burn the processor. Of the I/O thread.
struct bulk_count {
  static constexpr int memory = 8; ///< events
  int streams = 0, recent = 0;

  /// One event later: is there much?
  bool any() {
    if (streams > 0) recent = memory;
    return recent > 0 && recent-- > 0;
  }
};
inline constexpr std::size_t bulk_bytes = 64 << 10;

/// One stream's part of that.
class bulk_mark {
public:
  explicit bulk_mark(bulk_count& all) : all_(all) {}
  ~bulk_mark() { set(false); }
  bulk_mark(const bulk_mark&) = delete;
  bulk_mark& operator=(const bulk_mark&) = delete;
  void set(bool much) {
    all_.streams += int(much) - int(much_);
    much_ = much;
  }

private:
  bulk_count& all_;
  bool much_ = false;
};

} // namespace quadrant::transport::stream
