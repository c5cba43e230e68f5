#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "scheduler/block_pool.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;
using quadrant::test::property;

TEST_CASE("block_pool gives all or nothing, and its books balance") {
  property(
      "under random allocate, retain and release",
      [](const std::vector<std::uint16_t>& calls) {
        const auto total = *rc::gen::inRange(0, 40);
        std::set<block_id> kept; // what is in them may be wanted again
        block_pool pool(total, [&](block_id b) { RC_ASSERT(kept.erase(b) == 1u); });
        std::vector<std::vector<block_id>> held; // one entry a reference to each of its blocks
        std::map<block_id, int> references;
        for (const auto call : calls) {
          const auto argument = call / 4;
          if (call % 16 == 15 && !held.empty()) {
            for (const auto b : held.front()) pool.keep(b), kept.insert(b);
          } else if (call % 4 < 2 || held.empty()) {
            const auto n = argument % 12;
            const auto before = pool.books();
            const auto blocks = pool.allocate(n);
            RC_ASSERT(blocks.ok() == (n <= before.free + before.cached));
            if (!blocks) {
              RC_ASSERT(blocks.error().code == errc::out_of_blocks);
              RC_ASSERT(pool.books().free == before.free);
              continue;
            }
            RC_ASSERT(std::int32_t(blocks->size()) == n);
            for (const auto b : *blocks) {
              RC_ASSERT(b >= 0 && b < total);
              RC_ASSERT(references[b]++ == 0); // it had no owner
            }
            held.push_back(*blocks);
          } else {
            const auto which = held.begin() + argument % int(held.size());
            if (call % 4 == 2) {
              pool.retain(*which);
              for (const auto b : *which) ++references[b];
              held.push_back(std::vector(*which));
            } else {
              pool.release(*which);
              for (const auto b : *which) --references[b];
              held.erase(which);
            }
          }
          std::int64_t used = 0, sum = 0;
          for (const auto& [b, n] : references) used += n > 0, sum += n;
          const auto books = pool.books();
          RC_ASSERT(books.total == total);
          RC_ASSERT(books.free + books.used + books.cached == books.total);
          RC_ASSERT(books.cached == std::ranges::count_if(kept, [&](block_id b) { return references[b] == 0; }));
          RC_ASSERT(books.used == used);
          RC_ASSERT(books.leases == sum - used);
        }
        for (const auto& blocks : held) pool.release(blocks);
        RC_ASSERT(pool.books().free + std::int64_t(kept.size()) == total);
        RC_ASSERT(pool.books().leases == 0);
        for (const auto b : kept) pool.retain(std::span(&b, 1)); // used again
        RC_ASSERT(pool.books().cached == 0);
      },
      500);
}
