// transport/checksum.hpp: xxh3 of the slices of a transfer, each seeded with that of the one before.
#pragma once
#include <span>

#include "config/hash.hpp"
#include "transport/endpoint.hpp"

namespace quadrant::transport {

inline std::uint64_t checksum_of(std::span<const slice> slices) {
  std::uint64_t hash = 0;
  for (const auto& s : slices) hash = xxh3(s.from, hash);
  return hash;
}
/// Of the same slices where they have arrived.
inline std::uint64_t checksum_of(std::span<const std::span<std::byte>> places) {
  std::uint64_t hash = 0;
  for (const auto& place : places) hash = xxh3(place, hash);
  return hash;
}

} // namespace quadrant::transport
