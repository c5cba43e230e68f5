// config/hash.hpp: xxh3, the project's one non-cryptographic hash.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quadrant {

std::uint64_t xxh3(std::span<const std::byte> bytes, std::uint64_t seed = 0) noexcept;
std::uint64_t xxh3(std::string_view text, std::uint64_t seed = 0) noexcept;

/// Sixteen lower-case hex digits.
std::string to_hex(std::uint64_t value);

} // namespace quadrant
