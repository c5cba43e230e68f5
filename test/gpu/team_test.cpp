#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <xmmintrin.h>

#include "gpu/team.hpp"

namespace quadrant::test {

TEST_CASE("team::parallel gives every item to one thread, once") {
  for (const int threads : {1, 2, 4}) {
    gpu::team team({.num_threads = threads});
    for (const std::int64_t items : {0, 1, 2, 7, 64, 1000})
      for (const std::int64_t grain : {1, 3, 5000}) {
        std::vector<int> seen(static_cast<std::size_t>(items)); // plain ints: a range taken twice is a race
        std::atomic<bool> small{false};
        team.parallel(items, grain, [&](std::int64_t begin, std::int64_t end) {
          if (end - begin < grain && end != items) small = true;
          for (auto i = begin; i < end; ++i) ++seen[std::size_t(i)];
        });
        CHECK(seen == std::vector<int>(static_cast<std::size_t>(items), 1));
        CHECK(!small);
      }
  }
}

TEST_CASE("team::parallel_dealt gives each thread one range, the one that dealt() tells") {
  for (const int threads : {1, 2, 3}) {
    gpu::team team({.num_threads = threads});
    std::vector<std::thread::id> always(static_cast<std::size_t>(threads)); // range i is the same thread's every time
    for (const std::int64_t items : {0, 1, 2, 3, 7, 64, 1000}) {
      std::vector<int> seen(static_cast<std::size_t>(items));
      std::vector<std::thread::id> by(static_cast<std::size_t>(items));
      team.parallel_dealt(items, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) ++seen[std::size_t(i)], by[std::size_t(i)] = std::this_thread::get_id();
      });
      CHECK(seen == std::vector<int>(static_cast<std::size_t>(items), 1));
      for (int thread = 0; items > 1 && thread < threads; ++thread) {
        const auto range = team.dealt(items, thread);
        for (auto i = range.begin; i < range.end; ++i) {
          auto& known = always[std::size_t(thread)];
          if (known == std::thread::id()) known = by[std::size_t(i)];
          CHECK(by[std::size_t(i)] == known);
        }
      }
    }
  }
}

TEST_CASE("what a team is told to prefetch may have gone, and is forgotten for what comes next") {
  gpu::team team({.num_threads = 2});
  std::int64_t sum = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<std::byte> gone(std::size_t(1) << (8 + round % 14));
    for (int thread = 0; thread < 2; ++thread) team.prefetch(thread, {gone, {}, std::span(gone).first(7)});
    gone = {};
    team.parallel(2, 1, [&](std::int64_t begin, std::int64_t) {
      if (begin == 0) sum += round; // the other thread waits, and fetches
    });
    if (round % 3 == 0) team.prefetch(1, {});
  }
  CHECK(sum == 199 * 200 / 2);
}

TEST_CASE("a fetch list hands out each KiB of its ranges once, in order") {
  gpu::fetch_list list;
  CHECK(!list.fetch());
  const std::vector<std::byte> bytes(5000);
  list.set({std::span(bytes).first(1024), {}, std::span(bytes).first(1025)});
  for (int i = 0; i < 3; ++i) CHECK(list.fetch());
  CHECK(!list.fetch());
  list.set({bytes});
  list.set({});
  CHECK(!list.fetch());
}

TEST_CASE("team::parallel returns when all is done, many times over") {
  gpu::team team({.num_threads = 3});
  std::int64_t sum = 0;
  std::vector<std::int64_t> square(300);
  for (int round = 0; round < 300; ++round) {
    team.parallel(300, 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) square[std::size_t(i)] += i * i;
    });
    sum += square[299]; // what another thread wrote is seen here
  }
  CHECK(sum == std::int64_t{299} * 299 * (300 * 301 / 2));
}

TEST_CASE("what a range throws reaches the caller once all threads have left the loop, and the team goes on") {
  gpu::team team({.num_threads = 3});
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> inside{0};
    const auto loop = [&] {
      team.parallel(100, 1, [&](std::int64_t begin, std::int64_t) {
        ++inside;
        const struct leave {
          std::atomic<int>& n;
          ~leave() { --n; }
        } at_end{inside};
        if (begin >= 50) throw std::runtime_error("half");
      });
    };
    CHECK_THROWS_WITH(loop(), "half");
    CHECK(inside == 0);
    std::atomic<std::int64_t> sum{0};
    team.parallel(100, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    CHECK(sum == 100);
  }
}

TEST_CASE("teams that share the cores use an equal part each while they have work, and all cores when alone") {
  const int cores = int(gpu::usable_cores().size());
  gpu::team a({.num_threads = cores, .shares_cores = true}), b({.num_threads = cores, .shares_cores = true}),
      own({.num_threads = cores});
  a.set_at_work(true);
  CHECK(a.num_threads() == cores);
  b.set_at_work(true);
  CHECK(b.num_threads() == std::max(1, cores / 2));
  CHECK(a.num_threads() == cores); // of its next loop, as it was told; then
  a.parallel(1, 1, [](std::int64_t, std::int64_t) {});
  CHECK(a.num_threads() == std::max(1, cores / 2));
  CHECK(own.num_threads() == cores);
  a.set_at_work(false);
  b.parallel(1, 1, [](std::int64_t, std::int64_t) {});
  CHECK(b.num_threads() == cores);
}

TEST_CASE("every item is taken once while a team's share grows and shrinks") {
  const int cores = int(gpu::usable_cores().size());
  std::atomic<bool> over{false};
  std::thread other([&] { // has work now and then
    gpu::team team({.num_threads = cores, .shares_cores = true});
    while (!over) {
      team.set_at_work(true);
      team.parallel(10, 1, [](std::int64_t, std::int64_t) { std::this_thread::yield(); });
      team.set_at_work(false);
      std::this_thread::yield();
    }
  });
  gpu::team team({.num_threads = cores, .shares_cores = true});
  team.set_at_work(true);
  int wrong = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<int> seen(40);
    const auto count = [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) ++seen[std::size_t(i)];
    };
    if (round % 2 == 0)
      team.parallel(40, 1, count);
    else
      team.parallel_dealt(40, count);
    if (seen != std::vector<int>(40, 1)) ++wrong;
  }
  CHECK(wrong == 0);
  over = true;
  other.join();
}

TEST_CASE("a team's threads keep denormals and round to nearest") {
  _mm_setcsr(0x9fc0); // flush to zero: threads start as the one that makes them is
  CHECK(!gpu::team::is_prepared());
  gpu::team team({.num_threads = 4});
  gpu::team::prepare_thread();
  CHECK((_mm_getcsr() & ~0x3fu) == 0x1f80);
  std::atomic<int> wrong{0};
  team.parallel(4000, 1, [&](std::int64_t, std::int64_t) {
    if ((_mm_getcsr() & ~0x3fu) != 0x1f80) ++wrong;
  });
  CHECK(wrong == 0);
}

} // namespace quadrant::test
