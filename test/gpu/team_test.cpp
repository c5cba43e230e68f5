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
