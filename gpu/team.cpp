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

/// Teams that share the cores of the process and have work.
std::atomic<int> sharing{0};

/// A loop's word: its number, and in the low bits its threads. Helpers that a loop does without look at every later one,
/// so only neighbours need to differ.
constexpr std::uint32_t loop_threads = 0xfff, next_loop = loop_threads + 1;

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

team::team(team_options options)
    : options_(std::move(options)), wanted_(std::size_t(options_.num_threads)), share_(options_.num_threads) {
  QCHECK_LE(std::uint32_t(options_.num_threads), loop_threads);
  QCHECK(options_.cores.empty() || options_.cores.size() == std::size_t(options_.num_threads));
  if (!options_.cores.empty()) pin_to(options_.cores[0]);
  for (int i = 1; i < options_.num_threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

team::~team() {
  set_at_work(false);
  stop_ = true;
  loop_.fetch_add(next_loop, std::memory_order_release);
  loop_.notify_all();
  shared_.store(options_.num_threads, std::memory_order_release);
  shared_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void team::set_at_work(bool at_work) noexcept {
  if (!options_.shares_cores || at_work == at_work_) return;
  at_work_ = at_work;
  sharing.fetch_add(at_work ? 1 : -1, std::memory_order_relaxed);
  share_ = share_now();
}

int team::share_now() const noexcept {
  if (!options_.shares_cores) return options_.num_threads;
  const auto teams = std::max(1, sharing.load(std::memory_order_relaxed));
  return std::clamp(int(process_cores.size()) / teams, 1, options_.num_threads);
}

void team::take_ranges(int index) {
  QCHECK(is_prepared());
  if (grain_ == 0) {
    const auto range = dealt(items_, index);
    if (range.begin < range.end) (*fn_)(range.begin, range.end);
    return;
  }
  const std::int64_t sharers = 2 * std::int64_t(share_);
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
  for (std::uint32_t seen = 0;;) {
    if (!spin_until(wanted_[std::size_t(index)], [&] { return loop_.load(std::memory_order_acquire) != seen; })) {
      awake.fetch_sub(1, std::memory_order_relaxed);
      loop_.wait(seen, std::memory_order_acquire);
      awake.fetch_add(1, std::memory_order_relaxed);
    }
    seen = loop_.load(std::memory_order_acquire);
    if (stop_) break;
    if (std::uint32_t(index) >= (seen & loop_threads)) {
      wait_for_share(index);
      continue;
    }
    take_ranges_or_note(index);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
  awake.fetch_sub(1, std::memory_order_relaxed);
}

/// Its core is another team's for now: it parks at once.
void team::wait_for_share(int index) noexcept {
  awake.fetch_sub(1, std::memory_order_relaxed);
  for (auto threads = shared_.load(std::memory_order_acquire); threads <= index;
       threads = shared_.load(std::memory_order_acquire))
    shared_.wait(threads, std::memory_order_acquire);
  awake.fetch_add(1, std::memory_order_relaxed);
}

void team::parallel(std::int64_t items, std::int64_t grain, item_range_fn fn) {
  if (items <= 0) return;
  if (share_ == 1 || items <= grain)
    fn(0, items);
  else
    run(items, std::max<std::int64_t>(1, grain), fn);
  share_ = share_now();
}

void team::parallel_dealt(std::int64_t items, item_range_fn fn) {
  if (items <= 0) return;
  if (share_ == 1 || items == 1)
    fn(0, items);
  else
    run(items, 0, fn);
  share_ = share_now();
}

void team::run(std::int64_t items, std::int64_t grain, const item_range_fn& fn) {
  fn_ = &fn;
  items_ = items;
  grain_ = grain;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(share_ - 1, std::memory_order_relaxed);
  if (const auto before = shared_.load(std::memory_order_relaxed); before != share_) {
    shared_.store(share_, std::memory_order_release);
    if (before < share_) shared_.notify_all();
  }
  const auto last = loop_.load(std::memory_order_relaxed);
  loop_.store((last & ~loop_threads) + next_loop + std::uint32_t(share_), std::memory_order_release);
  loop_.notify_all();
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
