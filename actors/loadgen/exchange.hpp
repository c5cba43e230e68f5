// actors/loadgen/exchange.hpp: how a request and its response over HTTP came to an end.
#pragma once
#include <cstdint>
#include <string>

namespace quadrant::actors::loadgen {

enum class exchange_end : std::uint8_t {
  whole,     ///< the response came to its end
  connect,   ///< there was no connection
  timeout,   ///< of all of it
  broken,    ///< the connection was lost, or what came was no HTTP
  cancelled, ///< by cancel_all
};

struct exchange {
  exchange_end end = exchange_end::whole;
  std::string message; ///< unless whole: what was wrong, in words
};

} // namespace quadrant::actors::loadgen
