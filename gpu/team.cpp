#include "gpu/team.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include "config/check.hpp"

namespace quadrant::gpu {
namespace {

/// Team threads of the process that run or spin. Those that are parked, or do their caller's other work, are not counted.
std::atomic<int> awake{0};

/// Read before any thread is pinned: the mask that is asked for later is the asking thread's own.
std::vector<int> cores_of_process() {
  cpu_set_t cores;
  std::vector<int> list;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return list;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(std::size_t(core), &cores)) list.push_back(core);
  return list;
}
const std::vector<int> process_cores = cores_of_process();

/// Spins until done() or for about as long as parking and waking would take; false where it gave up.
template <class Done>
bool spin_until(fetch_list& wanted, Done done) {
  const int cores = int(process_cores.size());
  constexpr int rounds = 64, pauses = 64; // a pause is some 10 ns, a KiB that is fetched 25, a wake-up 5 to 50 us
  for (int round = 0; round < rounds && awake.load(std::memory_order_relaxed) <= cores; ++round)
    for (int i = 0; i < pauses; ++i) {
      if (done()) return true;
      if (!wanted.fetch()) _mm_pause();
    }
  return done();
}

void pin_to(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(std::size_t(core), &cores);
  // Refused in some containers: then the scheduler decides.
  pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
}

constexpr unsigned contract = 0x1f80, sticky = 0x3f; // round to nearest, no flush to zero, no traps; what has happened
} // namespace

std::vector<int> usable_cores() { return process_cores; }

void team::prepare_thread() { _mm_setcsr(contract); }
bool team::is_prepared() noexcept { return (_mm_getcsr() & ~sticky) == contract; }

void fetch_list::set(std::initializer_list<range> ranges) noexcept {
  QCHECK_LE(ranges.size(), most);
  auto next = ranges.begin();
  for (auto& c : cursors_) {
    c.end.store(nullptr, std::memory_order_relaxed); // the cursor of one range meets no other's end
    if (next == ranges.end()) continue;
    c.at.store(next->data(), std::memory_order_release);
    c.end.store(next->data() + next->size(), std::memory_order_release);
    ++next;
  }
}

bool fetch_list::fetch() noexcept {
  constexpr std::ptrdiff_t piece = 1024, line = 64;
  for (auto& c : cursors_) {
    const auto* end = c.end.load(std::memory_order_acquire);
    const auto* at = c.at.load(std::memory_order_relaxed);
    if (std::greater_equal<>{}(at, end)) continue;
    c.at.compare_exchange_strong(at, at + piece, std::memory_order_relaxed); // lost where it has just been set anew
    for (std::ptrdiff_t i = 0; i < piece; i += line) _mm_prefetch(at + i, _MM_HINT_T1);
    return true;
  }
  return false;
}

team::team(team_options options) : options_(std::move(options)), wanted_(std::size_t(options_.num_threads)) {
  QCHECK(options_.cores.empty() || options_.cores.size() == std::size_t(options_.num_threads));
  if (!options_.cores.empty()) pin_to(options_.cores[0]);
  for (int i = 1; i < options_.num_threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

team::~team() {
  stop_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void team::take_ranges(int index) {
  QCHECK(is_prepared());
  if (grain_ == 0) {
    const auto range = dealt(items_, index);
    if (range.begin < range.end) (*fn_)(range.begin, range.end);
    return;
  }
  const std::int64_t sharers = 2 * std::int64_t(options_.num_threads);
  auto begin = next_.load(std::memory_order_relaxed);
  while (begin < items_) {
    const auto end = std::min(items_, begin + std::max(grain_, (items_ - begin) / sharers));
    if (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
    (*fn_)(begin, end);
    begin = next_.load(std::memory_order_relaxed);
  }
}

/// What a range throws ends the loop: nobody takes another, and the caller throws it again once all are done.
void team::take_ranges_or_note(int index) noexcept {
  try {
    take_ranges(index);
  } catch (...) {
    next_.store(items_, std::memory_order_relaxed);
    if (!has_thrown_.exchange(true)) thrown_ = std::current_exception();
  }
}

void team::work(int index) {
  prepare_thread();
  if (!options_.cores.empty()) pin_to(options_.cores[std::size_t(index)]);
  awake.fetch_add(1, std::memory_order_relaxed);
  for (std::uint32_t seen = 0;; ++seen) {
    if (!spin_until(wanted_[std::size_t(index)], [&] { return generation_.load(std::memory_order_acquire) != seen; })) {
      awake.fetch_sub(1, std::memory_order_relaxed);
      generation_.wait(seen, std::memory_order_acquire);
      awake.fetch_add(1, std::memory_order_relaxed);
    }
    if (stop_) break;
    take_ranges_or_note(index);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
  awake.fetch_sub(1, std::memory_order_relaxed);
}

void team::parallel(std::int64_t items, std::int64_t grain, item_range_fn fn) {
  if (items <= 0) return;
  if (threads_.empty() || items <= grain) return fn(0, items);
  run(items, std::max<std::int64_t>(1, grain), fn);
}

void team::parallel_dealt(std::int64_t items, item_range_fn fn) {
  if (items <= 0) return;
  if (threads_.empty() || items == 1) return fn(0, items);
  run(items, 0, fn);
}

void team::run(std::int64_t items, std::int64_t grain, const item_range_fn& fn) {
  fn_ = &fn;
  items_ = items;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(int(threads_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  awake.fetch_add(1, std::memory_order_relaxed);
  take_ranges_or_note(0);
  const bool done = spin_until(wanted_[0], [&] { return busy_.load(std::memory_order_acquire) == 0; });
  awake.fetch_sub(1, std::memory_order_relaxed);
  for (auto left = done ? 0 : busy_.load(std::memory_order_acquire); left != 0;
       left = busy_.load(std::memory_order_acquire))
    busy_.wait(left, std::memory_order_acquire);
  if (has_thrown_.exchange(false)) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

} // namespace quadrant::gpu
