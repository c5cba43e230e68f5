// actors/loadgen/event_reader.hpp: server-sent events out of bytes that come in any pieces.
// Lines end in \n, \r\n or \r; comments and fields other than data are skipped; the data lines of an event are joined.
// Limits  max_event_bytes of one event; then nothing more is read
// Source  WHATWG HTML, 9.2 server-sent events
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace quadrant::actors::loadgen {

class event_reader {
public:
  static constexpr std::size_t max_event_bytes = 16 << 20; ///< far above a token's, and a bound for one stream
  using sink = std::function<void(std::string_view data)>;

  /// Tells each event that is whole; false once one was too long.
  bool feed(std::string_view bytes, const sink& event);
  /// The stream has come to its proper end: tells an event whose empty line is missing, as some servers leave it out.
  void end(const sink& event);

private:
  void end_line(const sink& event);
  void end_event(const sink& event);

  std::string line_, data_;
  bool after_cr_ = false, has_data_ = false, first_line_ = true, too_long_ = false;
};

} // namespace quadrant::actors::loadgen
