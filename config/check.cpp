#include "config/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace quadrant::detail {

void check_failed(const char* expression, const std::string& values, std::source_location where) {
  std::fprintf(stderr, "%s:%u: broken promise in %s: %s%s\n", where.file_name(), unsigned(where.line()),
               where.function_name(), expression, values.c_str());
  std::abort();
}

} // namespace quadrant::detail
