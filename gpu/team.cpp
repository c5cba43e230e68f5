#include "gpu/team.hpp"

#include <algorithm>
#include <utility>

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include "config/check.hpp"

namespace quadrant::gpu {
namespace {

// Some 10 ns each: a wake-up costs 5 to 50 us, so up to that is worth waiting for. With cores of its own a team waits
// through the host's work between two kernels.
constexpr int short_spin = 400, long_spin = 8000;

std::atomic<int> team_threads{0}; ///< of all teams of the process

void pin_to(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(std::size_t(core), &cores);
  // Refused in some containers: then the scheduler decides.
  pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
}

} // namespace

std::vector<int> usable_cores() {
  cpu_set_t cores;
  std::vector<int> list;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return list;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(std::size_t(core), &cores)) list.push_back(core);
  return list;
}

namespace {
constexpr unsigned contract = 0x1f80, sticky = 0x3f; // round to nearest, no flush to zero, no traps; what has happened
}

void team::prepare_thread() { _mm_setcsr(contract); }
bool team::is_prepared() noexcept { return (_mm_getcsr() & ~sticky) == contract; }

team::team(team_options options) : options_(std::move(options)) {
  QCHECK(options_.cores.empty() || options_.cores.size() == std::size_t(options_.num_threads));
  team_threads.fetch_add(options_.num_threads, std::memory_order_relaxed);
  if (!options_.cores.empty()) pin_to(options_.cores[0]);
  for (int i = 1; i < options_.num_threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

team::~team() {
  stop_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& thread : threads_) thread.join();
  team_threads.fetch_sub(options_.num_threads, std::memory_order_relaxed);
}

int team::spins() const noexcept {
  static const int cores = int(usable_cores().size());
  if (team_threads.load(std::memory_order_relaxed) > cores) return 0;
  return options_.spin ? long_spin : short_spin;
}

void team::take_ranges() {
  QCHECK(is_prepared());
  const std::int64_t sharers = 2 * std::int64_t(options_.num_threads);
  auto begin = next_.load(std::memory_order_relaxed);
  while (begin < items_) {
    const auto end = std::min(items_, begin + std::max(grain_, (items_ - begin) / sharers));
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    (*fn_)(begin, end);
    begin = next_.load(std::memory_order_relaxed);
  }
}

void team::work(int index) {
  prepare_thread();
  if (!options_.cores.empty()) pin_to(options_.cores[std::size_t(index)]);
  for (std::uint32_t seen = 0;; ++seen) {
    for (int i = spins(); i > 0 && generation_.load(std::memory_order_acquire) == seen; --i) _mm_pause();
    generation_.wait(seen, std::memory_order_acquire);
    if (stop_) return;
    take_ranges();
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

void team::parallel(std::int64_t items, std::int64_t grain, item_range_fn fn) {
  if (items <= 0) return;
  if (threads_.empty() || items <= grain) return fn(0, items);
  fn_ = &fn;
  items_ = items;
  grain_ = std::max<std::int64_t>(1, grain);
  next_.store(0, std::memory_order_relaxed);
  busy_.store(int(threads_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  take_ranges();
  for (int i = spins(); i > 0 && busy_.load(std::memory_order_acquire) != 0; --i) _mm_pause();
  for (auto left = busy_.load(std::memory_order_acquire); left != 0; left = busy_.load(std::memory_order_acquire))
    busy_.wait(left, std::memory_order_acquire);
}

} // namespace quadrant::gpu
