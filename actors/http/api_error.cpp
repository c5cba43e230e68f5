#include "actors/http/api_error.hpp"

namespace quadrant::actors::http {

api_error to_api_error(const failure& why) {
  switch (why.code) {
  case errc::invalid_argument: return bad_request({}, why.message);
  case errc::out_of_blocks: return {429, why.message, "rate_limit_error", {}, "rate_limit_exceeded"};
  case errc::unavailable:
  case errc::peer_lost:
  case errc::cancelled: return {503, why.message, "server_error", {}, "service_unavailable"};
  case errc::deadline: return {504, why.message, "server_error", {}, "timeout"};
  case errc::not_found:
  case errc::corrupt:
  case errc::numeric: break;
  }
  return {500, why.message, "server_error", {}, "internal_error"};
}

} // namespace quadrant::actors::http
