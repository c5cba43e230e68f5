// transport/tcp/identity.hpp: who an endpoint is to its peers, and how long it waits for them.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace quadrant::transport::tcp {

struct identity {
  std::uint64_t endpoint = 0, numerics = 0;
  std::string token;
  std::chrono::milliseconds handshake_timeout{}, stall_timeout{};
};

} // namespace quadrant::transport::tcp
