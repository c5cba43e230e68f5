// transport/stream/upgrade.hpp: a better way for a connection, agreed on in its handshake: each side offers what the other
// needs to know, and after the welcome both go on over it. The connection stays under it, and ends it when it ends.
//
//   dialler: offer() ─▶ hello ─▶ listener: offer(), connect(theirs) ─▶ welcome ─▶ dialler: connect(theirs)
//   then both: finish(the connection)
//
// Threads everything on the endpoint's I/O thread
#pragma once
#include <array>
#include <cstddef>
#include <functional>
#include <memory>

#include "config/result.hpp"
#include "transport/frame.hpp"
#include "transport/stream/byte_stream.hpp"

namespace quadrant::transport::stream {

class upgrade {
public:
  virtual ~upgrade() = default;
  [[nodiscard]] virtual upgrade_offer offer() const = 0;
  /// Errors  errc::corrupt: that is no offer; errc::invalid_argument: the other side cannot be reached so
  virtual result<void> connect(const upgrade_offer& theirs) = 0;
  virtual std::unique_ptr<byte_stream> finish(std::unique_ptr<byte_stream> under) = 0;
};

/// Null where this machine has none.
using upgrade_maker = std::function<std::unique_ptr<upgrade>()>;

} // namespace quadrant::transport::stream
