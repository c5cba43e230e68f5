#include "config/result.hpp"

namespace quadrant {

std::string_view to_string(errc code) noexcept {
  switch (code) {
  case errc::invalid_argument: return "invalid argument";
  case errc::not_found: return "not found";
  case errc::corrupt: return "corrupt";
  case errc::out_of_blocks: return "out of blocks";
  case errc::unavailable: return "unavailable";
  case errc::peer_lost: return "peer lost";
  case errc::deadline: return "deadline exceeded";
  case errc::cancelled: return "cancelled";
  case errc::numeric: return "not a number";
  }
  return "unknown";
}

} // namespace quadrant
