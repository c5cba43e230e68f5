// config/random.hpp: numbers nobody can guess, for ids, keys and the seeds that requests do not name.
#pragma once
#include <cstdint>

namespace quadrant {

/// 64 random bits from the operating system.
std::uint64_t random_u64();

} // namespace quadrant
