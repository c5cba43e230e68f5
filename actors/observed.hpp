// actors/observed.hpp: the one base of every actor: it counts what the console shows.
//
// Counting is a few atomics a message; nothing is sampled and nothing is sent.
// Threads enqueue: any; the rest: the actor's own
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <caf/all.hpp>

#include "config/clock.hpp"

namespace quadrant::actors {

struct actor_stats {
  caf::actor_id id = 0;
  std::string role;
  std::atomic<std::uint64_t> enqueued{0}, handled{0}, busy_ns{0}, max_ns{0};
  std::atomic<const char*> state{"starting"};

  [[nodiscard]] std::uint64_t mailbox() const noexcept {
    const auto out = handled.load(std::memory_order_relaxed), in = enqueued.load(std::memory_order_relaxed);
    return in > out ? in - out : 0;
  }
};

/// Every living actor of this process. An id counts within its actor system: each engine of a process has one.
class actor_registry {
public:
  static actor_registry& instance() {
    static auto& registry = *new actor_registry; // an engine may be a static object that ends later than this would
    return registry;
  }
  std::shared_ptr<actor_stats> add(const caf::actor_system& system, caf::actor_id id, std::string role) {
    auto stats = std::make_shared<actor_stats>();
    stats->id = id;
    stats->role = std::move(role);
    const std::lock_guard hold(mutex_);
    living_[{&system, id}] = stats;
    return stats;
  }
  void remove(const caf::actor_system& system, caf::actor_id id) {
    const std::lock_guard hold(mutex_);
    living_.erase({&system, id});
  }
  [[nodiscard]] std::vector<std::shared_ptr<const actor_stats>> all(const caf::actor_system& system) const {
    const std::lock_guard hold(mutex_);
    std::vector<std::shared_ptr<const actor_stats>> list;
    for (auto it = living_.lower_bound({&system, 0}); it != living_.end() && it->first.first == &system; ++it)
      list.push_back(it->second);
    return list;
  }

private:
  mutable std::mutex mutex_;
  std::map<std::pair<const caf::actor_system*, caf::actor_id>, std::shared_ptr<actor_stats>> living_;
};

template <class Base>
class observed : public Base {
public:
  observed(caf::actor_config& config, std::string role)
      : Base(config), stats_(actor_registry::instance().add(this->home_system(), this->id(), std::move(role))) {}

  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* unit) override {
    // Release here, acquire in consume: who handles a message sees what its sender wrote before. CAF's mailbox gives
    // that already, but ThreadSanitizer cannot see into CAF.
    stats_->enqueued.fetch_add(1, std::memory_order_release);
    Base::enqueue(std::move(message), unit);
  }
  caf::invoke_message_result consume(caf::mailbox_element& message) override {
    const auto start = steady_clock::monotonic_ns();
    (void)stats_->enqueued.load(std::memory_order_acquire);
    const auto outcome = Base::consume(message);
    const auto took = std::uint64_t(steady_clock::monotonic_ns() - start);
    stats_->busy_ns.fetch_add(took, std::memory_order_relaxed);
    if (took > stats_->max_ns.load(std::memory_order_relaxed)) stats_->max_ns.store(took, std::memory_order_relaxed);
    if (outcome != caf::invoke_message_result::skipped) stats_->handled.fetch_add(1, std::memory_order_relaxed);
    return outcome;
  }
  const char* name() const override { return stats_->role.c_str(); }
  /// An actor that has ended is not shown, even while somebody still holds its handle.
  bool cleanup(caf::error&& reason, caf::execution_unit* unit) override {
    actor_registry::instance().remove(this->home_system(), stats_->id);
    return Base::cleanup(std::move(reason), unit);
  }

protected:
  /// A word for the console; must be a literal.
  void now(const char* state) { stats_->state.store(state, std::memory_order_relaxed); }

private:
  std::shared_ptr<actor_stats> stats_;
};

} // namespace quadrant::actors
