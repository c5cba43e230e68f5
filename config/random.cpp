#include "config/random.hpp"

#include <sys/random.h>

#include "config/check.hpp"

namespace quadrant {

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  QCHECK_EQ(getrandom(&value, sizeof value, 0), ssize_t(sizeof value));
  return value;
}

} // namespace quadrant
