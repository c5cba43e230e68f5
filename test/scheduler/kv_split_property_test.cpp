#include <algorithm>
#include <numeric>

#include "scheduler/kv_split.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;
using quadrant::test::property;

TEST_CASE("plan_kv_split") {
  property(
      "every segment has one holder, in the order of the workers, and the counts say so",
      [](std::uint16_t blocks_of_it, std::vector<std::uint16_t> in_use) {
        in_use.push_back(0); // one worker at least
        const std::vector<std::int64_t> used(in_use.begin(), in_use.end());
        const std::int32_t blocks = blocks_of_it % 3000 + 1;
        const auto split = plan_kv_split(blocks, used);
        RC_ASSERT(split.ends.size() == used.size() - 1);
        std::vector<std::int32_t> counted(used.size(), 0);
        for (std::int32_t block = 0; block < blocks; ++block) {
          const auto segment = block / segment_blocks;
          const auto holder = split.holder_of(segment);
          RC_ASSERT(holder < used.size());
          RC_ASSERT(segment >= split.first_segment(holder) && segment < split.end_segment(holder));
          ++counted[holder];
        }
        for (std::size_t worker = 0; worker < used.size(); ++worker) {
          RC_ASSERT(split.blocks_on(worker, blocks) == counted[worker]);
          RC_ASSERT(split.first_segment(worker) <= split.end_segment(worker));
        }
      },
      300);

  property(
      "no worker gets a segment while another has more than a segment less in use",
      [](std::uint16_t blocks_of_it, std::vector<std::uint16_t> in_use) {
        in_use.push_back(0);
        std::vector<std::int64_t> load(in_use.begin(), in_use.end());
        const std::int32_t blocks = blocks_of_it % 3000 + 1;
        const auto split = plan_kv_split(blocks, load);
        for (std::size_t worker = 0; worker < load.size(); ++worker) load[worker] += split.blocks_on(worker, blocks);
        const auto least = *std::ranges::min_element(load);
        for (std::size_t worker = 0; worker < load.size(); ++worker)
          if (split.blocks_on(worker, blocks) > 0) RC_ASSERT(load[worker] <= least + 2 * segment_blocks);
      },
      300);

  SUBCASE("a short sequence is whole on the emptiest worker; a long one levels them") {
    const std::vector<std::int64_t> used = {64, 16, 40};
    CHECK(plan_kv_split(3, used).ends == std::vector<std::int32_t>{0, 1});
    CHECK(plan_kv_split(16 * 6, used).ends == std::vector<std::int32_t>{1, 4});
    CHECK(plan_kv_split(100, std::vector<std::int64_t>{5}).ends.empty());
  }
}
