#include "config/progress.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <string>

#include <unistd.h>

#include "config/clock.hpp"

namespace quadrant::progress {
namespace {

std::mutex mutex; ///< of what follows
bool shown = false;
std::int64_t last_ns = 0;
bool has_line = false;
std::optional<state> last; ///< what has not come to its end

} // namespace

void show() {
  const std::lock_guard hold(mutex);
  shown = isatty(STDERR_FILENO) != 0;
}

void report(std::string_view what, std::uint64_t done, std::uint64_t total, std::string_view unit) {
  constexpr std::int64_t between_ns = 50'000'000;
  constexpr std::uint64_t width = 24;
  const std::lock_guard hold(mutex);
  last = done < total ? std::optional(state{std::string(what), std::string(unit), done, total}) : std::nullopt;
  const auto time_ns = steady_clock::monotonic_ns();
  if (!shown || total == 0 || (done < total && time_ns - last_ns < between_ns)) return;
  last_ns = time_ns;
  const auto full = std::size_t(std::min(done, total) * width / total);
  const auto bar = std::string(full, '#') + std::string(width - full, '.');
  has_line = done < total;
  if (has_line)
    std::fprintf(stderr, "\r\033[K[%s] %.*s: %llu of %llu %.*s", bar.c_str(), int(what.size()), what.data(),
                 (unsigned long long)done, (unsigned long long)total, int(unit.size()), unit.data());
  else
    std::fputs("\r\033[K", stderr);
}

std::optional<state> now() {
  const std::lock_guard hold(mutex);
  return last;
}

void clear() {
  const std::lock_guard hold(mutex);
  if (has_line) std::fputs("\r\033[K", stderr);
  has_line = false;
}

} // namespace quadrant::progress
