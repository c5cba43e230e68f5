// gpu/device.hpp: a CPU device: one team of threads and any number of streams on it.
//
//   enqueue ──▶ stream A  [kernel][kernel][wait e][kernel]┐
//   enqueue ──▶ stream B  [kernel][record][kernel]        ├──▶ driver thread ──▶ team
//
// A stream is a FIFO: an item starts when the one before it has ended. A stream whose head waits for an event is
// parked; it holds no thread (a receive is such a wait). The driver takes ready streams in turn, one kernel each.
// Threads any thread may enqueue; kernels run on the driver thread, which is the first of the team.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gpu/event.hpp"
#include "gpu/team.hpp"

namespace quadrant::gpu {

class stream;

/// Where the device's time went since it started.
struct device_times {
  std::uint64_t busy_ns = 0; ///< in kernels
  std::uint64_t kernels = 0;
};

/// What a device and its streams share. It outlives both where an event still knows it.
struct device_state {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::shared_ptr<stream>> ready; ///< streams whose head may run
  bool stop = false;
  std::atomic<std::uint64_t> busy_ns{0}, kernels{0};
};

class stream : public std::enable_shared_from_this<stream> {
public:
  using kernel = std::function<void(team&)>;

  explicit stream(std::shared_ptr<device_state> device) : device_(std::move(device)) {}

  /// Runs `work` after everything enqueued before it.
  void launch(kernel work);
  /// Parks the stream until `e` has fired.
  void wait(event e);
  /// Fires `e` when everything enqueued before it has ended.
  void record(event e);
  [[nodiscard]] std::size_t depth() const; ///< items not yet ended

private:
  friend class device;
  struct item {
    kernel work; ///< empty for a wait
    std::optional<event> waits_for;
  };
  void enqueue(item next);
  void advance(std::unique_lock<std::mutex>& hold); ///< puts the stream where its head belongs
  void pass_wait();

  std::shared_ptr<device_state> device_;
  std::deque<item> items_; ///< guarded by device_->mutex
  bool scheduled_ = false; ///< ready, running, or waiting for an event
};

class device;

/// Runs devices on the thread that calls it and on no other: whoever owns all time, such as a test, drives a whole
/// cluster with it.
/// Threads one owner
class device_pump {
public:
  /// Runs what is ready until nothing is; returns how many kernels that were.
  std::size_t run();

private:
  friend class device;
  std::vector<device*> devices_;
};

class device {
public:
  /// pump: where it is set, the device has no threads, and kernels run in pump->run().
  device(std::string name, team_options options, std::shared_ptr<device_pump> pump = nullptr);
  ~device(); ///< ends what runs, drops what waits
  device(const device&) = delete;
  device& operator=(const device&) = delete;

  [[nodiscard]] std::shared_ptr<stream> make_stream();
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] device_times times() const noexcept { return {state_->busy_ns.load(), state_->kernels.load()}; }

private:
  friend class device_pump;
  void drive();
  /// Runs the head of a ready stream. Called with the lock; false, with the lock, where the device stops.
  bool run_one(std::unique_lock<std::mutex>& hold, team& workers);

  std::string name_;
  team_options options_;
  std::shared_ptr<device_state> state_;
  std::vector<std::shared_ptr<stream>> streams_;
  std::shared_ptr<device_pump> pump_;
  std::thread driver_; ///< none with a pump
};

} // namespace quadrant::gpu
