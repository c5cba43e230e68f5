#include "gpu/device.hpp"

#include <chrono>
#include <utility>

#include <pthread.h>

#include "config/check.hpp"
#include "config/clock.hpp"

namespace quadrant::gpu {

void stream::launch(kernel work) { enqueue({std::move(work), std::nullopt}); }

void stream::wait(event e) { enqueue({{}, std::move(e)}); }

void stream::record(event e) {
  enqueue({[e = std::move(e)](team&) { e.fire(); }, std::nullopt});
}

std::size_t stream::depth() const {
  const std::lock_guard hold(device_->mutex);
  return items_.size();
}

void stream::enqueue(item next) {
  std::unique_lock hold(device_->mutex);
  if (device_->stop) return;
  items_.push_back(std::move(next));
  if (!scheduled_) advance(hold);
}

/// Called with the lock, when nothing of this stream is scheduled. May let go of it, and return without it.
void stream::advance(std::unique_lock<std::mutex>& hold) {
  scheduled_ = true;
  while (!items_.empty() && items_.front().waits_for) {
    const auto e = *items_.front().waits_for;
    hold.unlock(); // an event may fire, and call back, at once
    if (!e.fired()) {
      e.then([self = weak_from_this()] {
        if (const auto s = self.lock()) s->pass_wait();
      });
      return;
    }
    hold.lock();
    if (device_->stop) return; // the items are gone, or are about to go
    items_.pop_front();
  }
  if (items_.empty()) {
    scheduled_ = false;
    return;
  }
  device_->ready.push_back(shared_from_this());
  device_->wake.notify_one();
}

/// The event that the head waits for has fired.
void stream::pass_wait() {
  std::unique_lock hold(device_->mutex);
  if (device_->stop) return;
  items_.pop_front();
  advance(hold);
}

device::device(std::string name, team_options options, std::shared_ptr<device_pump> pump)
    : name_(std::move(name)), options_(std::move(options)), state_(std::make_shared<device_state>()),
      pump_(std::move(pump)) {
  if (pump_)
    pump_->devices_.push_back(this);
  else
    driver_ = std::thread([this] { drive(); });
}

device::~device() {
  {
    const std::lock_guard hold(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  if (driver_.joinable()) driver_.join();
  if (pump_) std::erase(pump_->devices_, this);
  // What waits goes without the lock: what a kernel owns may use its stream while it goes.
  std::deque<std::shared_ptr<stream>> ready;
  std::vector<std::deque<stream::item>> items;
  const std::lock_guard hold(state_->mutex);
  ready.swap(state_->ready);
  for (const auto& s : streams_) items.emplace_back().swap(s->items_);
}

std::shared_ptr<stream> device::make_stream() {
  auto s = std::make_shared<stream>(state_);
  const std::lock_guard hold(state_->mutex);
  streams_.push_back(s);
  return s;
}

void device::drive() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  team::prepare_thread();
  team workers(options_);
  const auto wanted = [&] { return state_->stop || !state_->ready.empty(); };
  std::unique_lock hold(state_->mutex);
  do {
    // Between two steps, or while a peer's bytes come, it keeps its share of the cores.
    if (!state_->wake.wait_for(hold, std::chrono::microseconds(500), wanted)) {
      workers.set_at_work(false);
      state_->wake.wait(hold, wanted);
    }
    workers.set_at_work(true);
  } while (!state_->stop && run_one(hold, workers));
}

bool device::run_one(std::unique_lock<std::mutex>& hold, team& workers) {
  const auto s = std::move(state_->ready.front());
  state_->ready.pop_front();
  auto work = std::move(s->items_.front().work);
  hold.unlock();
  QCHECK(team::is_prepared());
  const auto start = steady_clock::monotonic_ns();
  work(workers);
  state_->busy_ns.fetch_add(std::uint64_t(steady_clock::monotonic_ns() - start), std::memory_order_relaxed);
  state_->kernels.fetch_add(1, std::memory_order_relaxed);
  work = nullptr; // what it owned goes without the lock
  hold.lock();
  if (state_->stop) return false;
  s->items_.pop_front();
  s->advance(hold);
  if (!hold.owns_lock()) hold.lock();
  return true;
}

std::size_t device_pump::run() {
  team::prepare_thread();
  team alone({});
  std::size_t ran = 0;
  for (bool again = true; std::exchange(again, false);)
    for (auto* d : devices_) {
      std::unique_lock hold(d->state_->mutex);
      while (!d->state_->ready.empty() && d->run_one(hold, alone)) {
        ++ran;
        again = true;
      }
    }
  return ran;
}

} // namespace quadrant::gpu
