#include "actors/http/request_id.hpp"

#include <algorithm>

#include "config/hash.hpp"
#include "config/random.hpp"

namespace quadrant::actors::http {

std::string request_id_of(std::string_view from_client) {
  constexpr std::size_t longest = 128;
  const auto visible = [](char c) { return c > ' ' && c <= '~'; };
  if (!from_client.empty() && from_client.size() <= longest && std::ranges::all_of(from_client, visible))
    return std::string(from_client);
  return "req-" + to_hex(random_u64());
}

} // namespace quadrant::actors::http
