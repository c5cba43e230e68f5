// config/clock.hpp: the one source of time; a test brings its own.
// Units   nanoseconds of a monotonic clock
// Threads any
#pragma once
#include <chrono>
#include <cstdint>

namespace quadrant {

class clock {
public:
  virtual ~clock() = default;
  [[nodiscard]] virtual std::int64_t now_ns() const noexcept = 0;
};

class steady_clock final : public clock {
public:
  [[nodiscard]] std::int64_t now_ns() const noexcept override { return monotonic_ns(); }
  static std::int64_t monotonic_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

} // namespace quadrant
