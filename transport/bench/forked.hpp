// transport/bench/forked.hpp: the other process of a benchmark. It ends with this, or with the process that made it.
// Errors  std::system_error
// Threads one owner; made while this process has one thread, because it forks
#pragma once
#include <functional>
#include <span>

#include <sched.h>
#include <sys/types.h>

#include "transport/bench/raw_socket.hpp"

namespace quadrant::transport::bench {

class forked {
public:
  /// life: what the other process does; `control` is its end of a stream to this one. What it throws is a line on stderr.
  explicit forked(const std::function<void(const raw_socket& control)>& life);
  ~forked();
  forked(const forked&) = delete;
  forked& operator=(const forked&) = delete;

  /// The first word of the other process: it is ready.
  template <class T>
  [[nodiscard]] T greeting() const {
    T value{};
    hear(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  [[nodiscard]] double cpu_seconds() const; ///< of all its threads so far

private:
  void hear(std::span<std::byte> bytes) const;
  pid_t pid_ = -1;
  raw_socket control_;
};

/// Of this process.
double own_cpu_seconds();

/// Which cores two processes run on.
enum class placing { apart, together, free }; ///< a core each, both on one, or as the scheduler likes
/// This thread, and those that it makes, while this lives. first: of the two processes.
class placement {
public:
  placement(placing p, bool first);
  ~placement();
  placement(const placement&) = delete;
  placement& operator=(const placement&) = delete;

private:
  cpu_set_t before_{};
  bool placed_ = false;
};

} // namespace quadrant::transport::bench
