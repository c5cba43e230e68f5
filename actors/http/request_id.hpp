// actors/http/request_id.hpp: what one request is called, in its response and in the log.
#pragma once
#include <string>
#include <string_view>

namespace quadrant::actors::http {

/// X-Request-Id as the client gave it where it is 1 to 128 visible ASCII characters, else a new one: it goes into a head
/// and into logs.
std::string request_id_of(std::string_view from_client);

} // namespace quadrant::actors::http
