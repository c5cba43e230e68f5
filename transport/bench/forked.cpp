#include "transport/bench/forked.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <exception>
#include <system_error>

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace quadrant::transport::bench {
namespace {

double seconds_of(clockid_t clock) {
  timespec t{};
  if (clock_gettime(clock, &t) != 0) throw std::system_error(errno, std::generic_category(), "clock_gettime");
  return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

} // namespace

forked::forked(const std::function<void(const raw_socket& control)>& life) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::system_error(errno, std::generic_category(), "socketpair");
  control_ = raw_socket(ends[0]);
  raw_socket theirs(ends[1]);
  pid_ = fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  control_ = {};
  try {
    life(theirs);
    _exit(0);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "quadrant bench transport: the other process: %s\n", e.what());
  }
  _exit(1);
}

forked::~forked() {
  kill(pid_, SIGKILL); // it holds nothing that anybody needs
  waitpid(pid_, nullptr, 0);
}

void forked::hear(std::span<std::byte> bytes) const {
  if (!control_.receive_all(bytes))
    throw std::system_error(ECONNRESET, std::generic_category(), "the other process did not start");
}

double forked::cpu_seconds() const {
  clockid_t clock{};
  if (const int bad = clock_getcpuclockid(pid_, &clock); bad != 0)
    throw std::system_error(bad, std::generic_category(), "clock_getcpuclockid");
  return seconds_of(clock);
}

placement::placement(placing p, bool first) {
  if (p == placing::free || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
  int at = -1;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(std::size_t(core), &before_)) continue;
    at = core;
    if (first || p == placing::together) break; // else the last one
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(std::size_t(at), &one);
  placed_ = sched_setaffinity(0, sizeof one, &one) == 0;
}

placement::~placement() {
  if (placed_) sched_setaffinity(0, sizeof before_, &before_);
}

double own_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

} // namespace quadrant::transport::bench
