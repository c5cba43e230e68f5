#include "gpu/team.hpp"

#include <algorithm>
#include <utility>

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include "config/check.hpp"

namespace quadrant::gpu {
namespace {

constexpr int spins_before_parking = 4000; // about 50 us: less than a wake-up costs twice

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
  if (!options_.cores.empty()) pin_to(options_.cores[0]);
  for (int i = 1; i < options_.num_threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

team::~team() {
  {
    const std::lock_guard hold(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void team::take_ranges() {
  QCHECK(is_prepared());
  for (;;) {
    const auto begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    if (begin >= items_) return;
    (*fn_)(begin, std::min(begin + grain_, items_));
  }
}

void team::work(int index) {
  prepare_thread();
  if (!options_.cores.empty()) pin_to(options_.cores[std::size_t(index)]);
  std::uint64_t seen = 0;
  for (;;) {
    if (options_.spin)
      for (int i = 0; i < spins_before_parking && published_.load(std::memory_order_acquire) == seen; ++i) _mm_pause();
    {
      std::unique_lock hold(mutex_);
      wake_.wait(hold, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
    }
    take_ranges();
    const std::lock_guard hold(mutex_);
    if (--busy_ == 0) done_.notify_one();
  }
}

void team::parallel(std::int64_t items, std::int64_t grain, item_range_fn fn) {
  if (items <= 0) return;
  // A few ranges a thread even the load out; smaller ones only cost.
  grain = std::max({grain, std::int64_t{1}, items / (4 * options_.num_threads)});
  if (threads_.empty() || items <= grain) return fn(0, items);
  {
    const std::lock_guard hold(mutex_);
    fn_ = &fn;
    items_ = items;
    grain_ = grain;
    next_.store(0, std::memory_order_relaxed);
    busy_ = int(threads_.size());
    published_.store(++generation_, std::memory_order_release);
  }
  wake_.notify_all();
  take_ranges();
  std::unique_lock hold(mutex_);
  done_.wait(hold, [&] { return busy_ == 0; });
}

} // namespace quadrant::gpu
