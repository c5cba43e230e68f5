// Streams, events and the end of a device. Waiting for what another thread does goes through `wait_for`, never through
// sleep.
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "gpu/device.hpp"

namespace quadrant::test {
namespace {

using gpu::device;
using gpu::event;
using gpu::team;

/// Blocks until `e` has fired; false after ten seconds.
bool wait_for(const event& e) {
  auto done = std::make_shared<std::promise<void>>();
  e.then([done] { done->set_value(); });
  return done->get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready;
}
/// Everything enqueued on s so far has ended.
bool drained(gpu::stream& s) {
  event e;
  s.record(e);
  return wait_for(e);
}

} // namespace

TEST_CASE("event fires once, and late waiters run at once") {
  event e;
  int runs = 0;
  e.then([&] { ++runs; });
  CHECK(!e.fired());
  CHECK(runs == 0);
  e.fire();
  e.fire();
  CHECK(e.fired());
  CHECK(runs == 1);
  e.then([&] { ++runs; });
  CHECK(runs == 2);
}

TEST_CASE("stream is a FIFO whose kernels see each other's writes") {
  device d("fifo", {.num_threads = 2});
  const auto s = d.make_stream();
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) s->launch([&order, i](team&) { order.push_back(i); });
  REQUIRE(drained(*s));
  REQUIRE(order.size() == 1000);
  for (int i = 0; i < 1000; ++i) CHECK(order[std::size_t(i)] == i);
  CHECK(d.times().kernels >= 1000);
}

TEST_CASE("a parked stream holds no thread: others run, and it goes on when its event fires") {
  device d("park", {.num_threads = 1});
  const auto a = d.make_stream(), b = d.make_stream();
  event gate;
  std::atomic<bool> passed{false};
  a->wait(gate);
  a->launch([&](team&) { passed = true; });
  b->launch([](team&) {});
  REQUIRE(drained(*b)); // the only thread was free for it
  CHECK(!passed);
  CHECK(a->depth() == 2);
  gate.fire();
  REQUIRE(drained(*a));
  CHECK(passed);
}

TEST_CASE("events order streams of two devices") {
  device one("one", {.num_threads = 1}), two("two", {.num_threads = 1});
  const auto a = one.make_stream(), b = two.make_stream();
  std::vector<int> order; // no lock: the events are what orders the writes
  for (int i = 0; i < 200; ++i) {
    event there, back;
    a->launch([&order, i](team&) { order.push_back(2 * i); });
    a->record(there);
    b->wait(there);
    b->launch([&order, i](team&) { order.push_back(2 * i + 1); });
    b->record(back);
    a->wait(back);
  }
  REQUIRE(drained(*a));
  REQUIRE(order.size() == 400);
  for (int i = 0; i < 400; ++i) CHECK(order[std::size_t(i)] == i);
}

TEST_CASE("a thousand waits on events that have fired end without a deep stack") {
  device d("fired", {.num_threads = 1});
  const auto s = d.make_stream();
  event gate, fired;
  fired.fire();
  s->wait(gate);
  for (int i = 0; i < 100'000; ++i) s->wait(fired);
  gate.fire();
  CHECK(drained(*s));
}

TEST_CASE("any thread may enqueue, and each one's order is kept") {
  device d("many", {.num_threads = 2});
  const auto s = d.make_stream();
  constexpr int threads = 4, each = 300;
  std::vector<std::vector<int>> got(threads);
  std::vector<event> events(each);
  {
    std::vector<std::jthread> callers;
    for (int t = 0; t < threads; ++t)
      callers.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          if (t == 0) s->wait(events[std::size_t(i)]);
          s->launch([&got, t, i](team&) { got[std::size_t(t)].push_back(i); });
          if (t == 1) events[std::size_t(i)].fire(); // from a thread that is no driver, at any moment
        }
      });
  }
  REQUIRE(drained(*s));
  for (const auto& list : got) {
    REQUIRE(list.size() == each);
    for (int i = 0; i < each; ++i) CHECK(list[std::size_t(i)] == i);
  }
}

TEST_CASE("a device ends what runs and drops what waits, with streams parked and events still to fire") {
  event never, late, started;
  std::atomic<bool> finished{false}, dropped_ran{false};
  auto owned = std::make_shared<int>(1);
  std::shared_ptr<gpu::stream> outlives;
  {
    device d("end", {.num_threads = 2});
    const auto parked = d.make_stream(), parked_too = d.make_stream(), busy = d.make_stream();
    parked->wait(never);
    parked->launch([&, owned](team&) { dropped_ran = true; });
    parked_too->wait(late);
    parked_too->launch([&, owned](team&) { dropped_ran = true; });
    busy->launch([&](team&) {
      started.fire();
      std::this_thread::sleep_for(std::chrono::milliseconds(20)); // long enough to be running when the device ends
      finished = true;
    });
    busy->launch([&, owned](team&) {});
    REQUIRE(wait_for(started));
    outlives = parked_too;
  }
  CHECK(finished);
  CHECK(owned.use_count() == 1); // nothing that waited is kept
  late.fire();                   // the stream still lives, its device does not
  outlives->launch([&](team&) { dropped_ran = true; });
  outlives->wait(never);
  CHECK(outlives->depth() == 0);
  outlives.reset();
  never.fire(); // and now neither does
  CHECK(!dropped_ran);
}

TEST_CASE("what a dropped kernel owned may use its stream while it goes") {
  struct farewell {
    std::shared_ptr<gpu::stream> s;
    ~farewell() {
      if (s) s->launch([](team&) {});
    }
  };
  event never;
  device d("bye", {.num_threads = 1});
  const auto s = d.make_stream();
  auto last = std::make_shared<farewell>();
  last->s = s;
  s->wait(never);
  s->launch([last](team&) {});
  last.reset();
  CHECK(s->depth() == 2);
} // the device's end must not deadlock

TEST_CASE("devices end while events fire and callers enqueue") {
  for (int round = 0; round < 50; ++round) {
    std::vector<event> events(64);
    std::shared_ptr<gpu::stream> s;
    std::jthread enqueuer, firer;
    {
      device d("race", {.num_threads = 1});
      s = d.make_stream();
      enqueuer = std::jthread([&events, s] {
        for (auto& e : events) {
          s->wait(e);
          s->launch([](team&) {});
        }
      });
      firer = std::jthread([&events] {
        for (auto& e : events) e.fire();
      });
      if (round % 2 == 0) std::this_thread::yield();
    }
    enqueuer.join();
    firer.join();
    CHECK(s->depth() == 0);
  }
}

} // namespace quadrant::test
