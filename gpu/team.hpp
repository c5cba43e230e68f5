// gpu/team.hpp: the threads of one CPU device, as one parallel loop.
//
//   caller   publishes a loop ── takes ranges ── waits until the helpers are done
//   helper   waits for a loop ── takes ranges ── says so
//
// Ranges are guided: each takes a share of what is left, so the first are long (neighbouring items share operands) and
// the last are short (nobody waits long for the other). Or they are dealt, one a thread: what streams memory loses more
// where it begins anew than by unequal ends. Who waits spins for some 50 us and parks then, and parks at once while more
// team threads of the process run or spin than it has cores: it would take the core from whom it waits for. Who spins
// fetches into its own cache what `prefetch` says that it will read: a core alone cannot draw all that memory gives, so
// none should rest while one norms a row.
//
// Teams that share the cores of the process each have a thread for every core, and use in a loop only as many as their
// share is at that time: all cores while the others have nothing to do, one of n parts while n have work. So whoever
// works alone has the whole machine, and no core has two threads.
// Units   an item is the smallest piece of an op that one thread may take alone
// Threads one caller at a time (the device's driver thread); the caller works too
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <span>
#include <thread>
#include <vector>

namespace quadrant::gpu {

/// A borrowed callable `void(begin, end)`; valid while the callee runs.
class item_range_fn {
public:
  template <class Fn>
  item_range_fn(const Fn& fn) // NOLINT(google-explicit-constructor)
      : self_(&fn),
        call_([](const void* self, std::int64_t b, std::int64_t e) { (*static_cast<const Fn*>(self))(b, e); }) {}
  void operator()(std::int64_t begin, std::int64_t end) const { call_(self_, begin, end); }

private:
  const void* self_;
  void (*call_)(const void*, std::int64_t, std::int64_t);
};

/// The cores that this process may run on.
std::vector<int> usable_cores();

struct team_options {
  int num_threads = 1;
  std::vector<int> cores{};  ///< one a thread, shared with no other team, to pin it to; empty: the scheduler decides
  bool shares_cores = false; ///< with the other teams of the process that do
};

/// Bytes that a thread will read soon, in order. Only a hint: they may go at any time, a fetch of what is not there does
/// nothing.
/// Threads set: one; fetch: another
class alignas(64) fetch_list {
public:
  static constexpr std::size_t most = 4;
  using range = std::span<const std::byte>;

  /// Replaces what was there.
  void set(std::initializer_list<range> ranges) noexcept;
  /// Begins to fetch the next KiB; false where nothing is left.
  bool fetch() noexcept;

private:
  struct cursor {
    std::atomic<const std::byte*> at{nullptr}, end{nullptr};
  };
  std::array<cursor, most> cursors_;
};

class team {
public:
  /// The thread that makes a team is its thread 0, pinned as the others are.
  explicit team(team_options options);
  ~team();
  team(const team&) = delete;
  team& operator=(const team&) = delete;

  /// That the next loop will use.
  [[nodiscard]] int num_threads() const noexcept { return share_; }
  /// Its owner has something to do, or nothing for a while: whoever shares the cores gets more then.
  void set_at_work(bool at_work) noexcept;

  /// Calls fn on disjoint ranges that cover [0, items), each of at least `grain` items (but the last), and returns
  /// when all are done. Which thread takes which range is free: an op's result may not depend on it. What fn throws is
  /// thrown again here, when all threads have left it.
  void parallel(std::int64_t items, std::int64_t grain, item_range_fn fn);

  /// The same in equal ranges, thread i's is dealt(items, i); but one item alone is the caller's.
  void parallel_dealt(std::int64_t items, item_range_fn fn);
  struct item_range {
    std::int64_t begin, end;
  };
  [[nodiscard]] item_range dealt(std::int64_t items, int index) const noexcept {
    return {items * index / share_, items * (index + 1) / share_};
  }

  /// Thread `index` will read these soon: it fetches them while it waits. Replaces what it was told before.
  void prefetch(int index, std::initializer_list<fetch_list::range> ranges) noexcept {
    wanted_[std::size_t(index)].set(ranges);
  }

  /// Sets the floating-point environment that the numerics contract needs (round to nearest, denormals kept).
  static void prepare_thread();
  [[nodiscard]] static bool is_prepared() noexcept;

private:
  void work(int index);
  void run(std::int64_t items, std::int64_t grain, const item_range_fn& fn); ///< grain 0: dealt
  [[nodiscard]] int share_now() const noexcept;
  void wait_for_share(int index) noexcept;
  void take_ranges(int index);
  void take_ranges_or_note(int index) noexcept;

  team_options options_;
  std::vector<fetch_list> wanted_; ///< one a thread
  std::vector<std::thread> threads_;
  const item_range_fn* fn_ = nullptr;  ///< of the loop that is published
  std::int64_t items_ = 0, grain_ = 1; ///< grain 0: ranges are dealt
  int share_;                          ///< threads of this loop, and between loops of the next
  bool stop_ = false, at_work_ = false;
  std::atomic<bool> has_thrown_{false};
  std::exception_ptr thrown_; ///< the first, of this loop
  // Each on a line of its own: they are written while others read the neighbours.
  alignas(64) std::atomic<std::uint32_t> loop_{
      0};                                         ///< its number and how many threads it has; helpers wait for the next
  alignas(64) std::atomic<std::int32_t> busy_{0}; ///< helpers still in the loop; the caller waits for 0
  alignas(64) std::atomic<std::int64_t> next_{0}; ///< first item that nobody has taken
  alignas(64) std::atomic<std::int32_t> shared_{0}; ///< threads of the newest loop; those it does without wait here
};

} // namespace quadrant::gpu
