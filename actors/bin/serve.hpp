// actors/bin/serve.hpp: where a serving process is found unless told otherwise.
#pragma once
#include <cstdint>

namespace quadrant::bin {

inline constexpr std::uint16_t default_port = 8080, default_control_port = 8079;

} // namespace quadrant::bin
